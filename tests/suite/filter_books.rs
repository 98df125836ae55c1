//! The books that filters are tested on. Plain data.

/// A book to create.
pub(crate) struct Book {
    /// The id that it is created with.
    pub(crate) id: &'static str,
    /// Its title, unique among the books.
    pub(crate) title: &'static str,
    /// Its author.
    pub(crate) author: &'static str,
    /// The currency of its price.
    pub(crate) currency_code: &'static str,
    /// Its price, in millionths of the currency's unit.
    pub(crate) price_micros: i64,
    /// How many copies there are.
    pub(crate) stock: i32,
    /// Its description. Unset, empty and filled are three different values.
    pub(crate) description: Option<&'static str>,
    /// One of the categories that the migrations create, which exist everywhere.
    pub(crate) category_id: Option<&'static str>,
    /// Its attributes, a JSON object.
    pub(crate) attributes: &'static str,
}

const NON_FICTION: Option<&str> = Some("01930000-0000-7000-8000-000000000002");
const SCIENCE: Option<&str> = Some("01930000-0000-7000-8000-000000000003");
const TECHNOLOGY: Option<&str> = Some("01930000-0000-7000-8000-000000000005");
const FICTION: Option<&str> = Some("01930000-0000-7000-8000-000000000001");

/// The books, in the code point order of their titles.
pub(crate) const BOOKS: &[Book] = &[
    Book {
        id: "01940000-0000-7000-8000-000000000001",
        title: "100 pure",
        author: "Bo Öz",
        currency_code: "USD",
        price_micros: 0,
        stock: 0,
        description: Some(""),
        category_id: None,
        attributes: r#"{"language": "eng", "pages": "320", "bestseller": 1}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000002",
        title: "100% pure",
        author: "Ann Lee",
        currency_code: "USD",
        price_micros: 12_500_000,
        stock: 5,
        description: None,
        category_id: SCIENCE,
        attributes: r#"{"language": "eng", "pages": 320, "rating": 4.5, "bestseller": true}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000003",
        title: "C*",
        author: "Ann Lee",
        currency_code: "USD",
        price_micros: 12_500_000,
        stock: 7,
        description: Some("Stars * and stripes"),
        category_id: TECHNOLOGY,
        attributes: r#"{"language": null, "pages": 100}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000004",
        title: "C++",
        author: "B. S.",
        currency_code: "EUR",
        price_micros: 30_000_000,
        stock: 1,
        description: Some("Templates_all"),
        category_id: TECHNOLOGY,
        attributes: r#"{"language": ["eng"], "pages": 320.0, "bestseller": false}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000005",
        title: "Dune",
        author: "Frank Herbert",
        currency_code: "EUR",
        price_micros: 9_990_000,
        stock: 3,
        description: Some("Sand and SPICE"),
        category_id: FICTION,
        attributes: r#"{"language": "deu", "pages": 412, "isbn.13": "978", "tags": ["sf", "epic"],
            "publisher": {"name": "Ace", "country": {"code": "US"}}}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000006",
        title: "Dune Messiah",
        author: "Frank Herbert",
        currency_code: "EUR",
        price_micros: 9_990_001,
        stock: 3,
        description: None,
        category_id: FICTION,
        attributes: r#"{"language": "deu", "publisher": {"name": ["Ace"]}, "tags": {"0": "sf"}}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000007",
        title: "Eine \"kurze\" Zeit",
        author: "S. H.",
        currency_code: "EUR",
        price_micros: 15_000_000,
        stock: 40,
        description: Some("Physics"),
        category_id: SCIENCE,
        attributes: r#"{"a\"b": 1, "a\\b": 2, "": 3, "é": "è", "a*": "x*", "a\nb": 4, "a b": 5}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000008",
        title: "back\\slash",
        author: "Ann Leeds",
        currency_code: "USD",
        price_micros: 1_000_000,
        stock: 2,
        description: None,
        category_id: None,
        attributes: r#"{"pages": -1, "rating": 0.1}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000009",
        title: "dune",
        author: "frank herbert",
        currency_code: "USD",
        price_micros: 10_000_000_000_000,
        stock: i32::MAX,
        description: Some("sand"),
        category_id: None,
        attributes: "{}",
    },
    Book {
        id: "01940000-0000-7000-8000-000000000010",
        title: "null",
        author: "Nobody",
        currency_code: "USD",
        price_micros: 5_000_000,
        stock: 10,
        description: Some("null"),
        category_id: NON_FICTION,
        attributes: r#"{"language": "null", "pages": 1e300}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000011",
        title: "true",
        author: "Nobody",
        currency_code: "USD",
        price_micros: 5_000_000,
        stock: 11,
        description: None,
        category_id: NON_FICTION,
        attributes: r#"{"language": "true", "bestseller": "true"}"#,
    },
    Book {
        id: "01940000-0000-7000-8000-000000000012",
        title: "Émile",
        author: "Jean-Jacques Rousseau",
        currency_code: "EUR",
        price_micros: 7_250_000,
        stock: 4,
        description: Some("Éducation"),
        category_id: None,
        attributes: r#"{"language": {"name": "fra"}, "deep": {"er": {"est": "yes"}}, "pages": [320]}"#,
    },
];

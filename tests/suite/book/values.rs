//! Values of a book that are returned exactly as they were sent.

use bookstore_proto::v1::{
    BatchGetBooksRequest, Book, GetBookRequest, ListBooksRequest, UpdateBookRequest,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use prost_reflect::prost_types::{self, Struct, value::Kind};
use serde_json::{Value, json};
use tonic::Code;

use crate::client::{
    Refusal, a_book, books, create, create_all, done, id, mask, message, refused, with,
};

on_every_engine!(
    price_round_trips_exactly_to_a_micro,
    attributes_round_trip_unchanged,
    attributes_nested_beyond_the_decoder_limit_are_refused,
    text_of_every_script_round_trips,
    values_at_their_length_limit_are_accepted,
);

async fn price_round_trips_exactly_to_a_micro(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let prices = [
        (0, 0, "0"),
        (0, 1_000, "1"),
        (0, 999_999_000, "999999"),
        (1, 0, "1000000"),
        (12, 990_001_000, "12990001"),
        (4_503_599, 627_370_000, "4503599627370"),
        (9_999_999, 999_999_000, "9999999999999"),
        (10_000_000, 0, "10000000000000"),
    ];
    let price =
        |units: i64, nanos: i64| json!({"currency_code": "JPY", "units": units, "nanos": nanos});
    let all =
        prices.map(|(units, nanos, _)| with(a_book("x"), json!({"price": price(units, nanos)})));
    let created = create_all(&mut books, &all).await;
    let read = done(
        books
            .batch_get_books(BatchGetBooksRequest {
                ids: created.iter().map(|book| book.id.clone()).collect(),
                ..Default::default()
            })
            .await,
    );
    assert_eq!(read.books, created);
    let rows = server.sql("SELECT price_micros, currency_code FROM books ORDER BY id").await;
    for (at, (units, nanos, micros)) in prices.into_iter().enumerate() {
        assert_eq!(created[at].price, Some(message(price(units, nanos))));
        assert_eq!(rows[at], [Some(micros.to_owned()), Some("JPY".to_owned())]);
    }
}

async fn attributes_round_trip_unchanged(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let mut deep = json!({"end": true});
    for _ in 0..10 {
        deep = json!({"a": [deep]});
    }
    let all = [
        json!({"a": null, "b": true, "c": false, "d": "", "e": [], "f": {}}),
        json!({"list": [1, "1", [1, [null, {"a": []}]], {"b": {"c": [false]}}]}),
        json!({"numbers": [0, 1.5, -0.5, 0.1, 1e300, -1e300, 9_007_199_254_740_992_i64,
            -9_007_199_254_740_993_i64, 1e16, 123_456_789.123, 5e-324, 1.797_693_134_862_315_7e308,
            2.225_073_858_507_201e-308, 3.241_592_653_589_793]}),
        json!({"": 1, " ": 2, "a.b": 3, "a\"b": 4, "a\\b": 5, "$": 6, "ключ": "значение",
            "\u{1}\n\t": "\u{7f}\u{85}\u{2028}", "𝔘": "😀👩‍👩‍👧", "é": "e\u{301}"}),
        json!({"__proto__": {"x": 1}, "order": {"b": 1, "a": 2, "c": 3}}),
        deep,
    ];
    // Numbers of every magnitude, most with 17 digits (Marsaglia's xorshift).
    let mut bits = 1_u64;
    let numbers = (0..1_000).map(|_| {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        f64::from_bits(bits)
    });
    let numbers: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
    assert!(numbers.len() > 900);
    let all = all.into_iter().chain([json!({"numbers": numbers})]);
    let bodies: Vec<Value> =
        all.map(|value| with(a_book("x"), json!({"attributes": value}))).collect();
    let created = create_all(&mut books, &bodies).await;
    for (book, body) in created.iter().zip(&bodies) {
        let wanted: Book = message(body.clone());
        let read = done(
            books.get_book(GetBookRequest { id: book.id.clone(), ..Default::default() }).await,
        );
        assert_eq!(read.attributes, wanted.attributes);
        // The answer of a write equals a later read.
        assert_eq!(read, *book);
    }
    // Attributes are replaced as a whole.
    let other: Book = message(json!({"id": id(1), "attributes": {"new": 1}}));
    let request: UpdateBookRequest = UpdateBookRequest {
        book: Some(other.clone()),
        update_mask: message::<UpdateBookRequest>(json!({"update_mask": mask(&["attributes"])}))
            .update_mask,
        allow_missing: false,
    };
    assert_eq!(done(books.update_book(request).await).attributes, other.attributes);
    // An empty object equals none.
    let empty = with(a_book("x"), json!({"attributes": {}}));
    let empty = done(books.create_book(create("", empty)).await);
    assert_eq!(empty.attributes, None);
    let stored = "SELECT 1 FROM books WHERE attributes ->> 'new' IS NOT NULL";
    assert_eq!(server.sql(stored).await.len(), 1);
}

/// Decoders stop at 100 nested messages. What a write accepts every read must be able to return.
async fn attributes_nested_beyond_the_decoder_limit_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let mut answers = Vec::new();
    for depth in 1..60 {
        let mut attributes = Struct::default();
        for _ in 0..depth {
            let kind = Some(Kind::StructValue(std::mem::take(&mut attributes)));
            attributes.fields.insert("a".into(), prost_types::Value { kind });
        }
        let mut request = create(&id(depth), a_book("Deep"));
        let book = request.book.as_mut().expect("a book");
        book.attributes = Some(attributes.clone());
        match books.create_book(request).await {
            Ok(created) => {
                assert_eq!(created.get_ref().attributes, Some(attributes), "{depth} deep");
                let read = BatchGetBooksRequest { ids: vec![id(depth)], ..Default::default() };
                assert_eq!(done(books.batch_get_books(read).await).books, [created.into_inner()]);
                answers.push(true);
            }
            Err(status) => {
                Refusal::from(&status).is(Code::InvalidArgument, "MALFORMED_MESSAGE", &[]);
                answers.push(false);
            }
        }
    }
    let taken = answers.iter().take_while(|taken| **taken).count();
    assert!((20..50).contains(&taken), "{taken} deep");
    assert!(answers[taken..].iter().all(|taken| !taken), "{answers:?}");
    let all = done(books.list_books(ListBooksRequest::default()).await).books;
    assert_eq!(all.len(), taken);
}

async fn text_of_every_script_round_trips(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let texts = [
        "Война и мир",
        "戰爭與和平",
        "الحرب والسلام",
        "מלחמה ושלום",
        "युद्ध और शान्ति",
        "สงครามและสันติภาพ",
        "전쟁과 평화",
        "e\u{301} is not é",
        "\u{202e}reversed\u{202c}",
        "👩‍👩‍👧‍👦 🏳️‍🌈 𝔘𝔫𝔦",
        "'; DROP TABLE books; --",
        "100% _ \\ \" ' ` $1 ? {0}",
        " spaces stay ",
        "\t\r\n\u{1}\u{7f}\u{85}\u{a0}\u{2028}\u{feff}",
        "\u{fffd}\u{ffff}\u{10ffff}",
        "NULL",
    ];
    let bodies = texts.map(|text| {
        with(a_book(text), json!({"author": text, "description": text, "cover_image": text}))
    });
    let created = create_all(&mut books, &bodies).await;
    for (book, text) in created.iter().zip(texts) {
        assert_eq!((book.title.as_str(), book.author.as_str()), (text, text));
        let read = done(
            books.get_book(GetBookRequest { id: book.id.clone(), ..Default::default() }).await,
        );
        assert_eq!((&read.title, read.description.as_deref()), (&book.title, Some(text)));
        assert_eq!(read.cover_image.as_deref(), Some(text));
    }
}

/// Lengths count characters, not bytes: these have four bytes each.
async fn values_at_their_length_limit_are_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let wide = |count: usize| "𝔘".repeat(count);
    // `{"a":"…"}` is 8 bytes longer than its text.
    let attributes = |size: usize| json!({"a": "x".repeat(size - 8)});
    let largest = with(
        a_book(&wide(255)),
        json!({
            "author": wide(255),
            "description": wide(10_000),
            "price": {"currency_code": "ZZZ", "units": 10_000_000},
            "stock": i32::MAX,
            "cover_image": wide(500),
            "attributes": attributes(65_536),
        }),
    );
    let created = done(books.create_book(create(&id(1), largest.clone())).await);
    let mut wanted: Book = message(largest.clone());
    wanted.id = id(1);
    wanted.etag.clone_from(&created.etag);
    (wanted.create_time, wanted.update_time) = (created.create_time, created.update_time);
    assert_eq!(created, wanted);
    assert_eq!(
        done(books.get_book(GetBookRequest { id: id(1), ..Default::default() }).await),
        wanted
    );

    for (field, value, at) in [
        ("title", json!(wide(256)), "book.title"),
        ("author", json!(wide(256)), "book.author"),
        ("description", json!(wide(10_001)), "book.description"),
        ("cover_image", json!(wide(501)), "book.cover_image"),
        ("attributes", attributes(65_537), "book.attributes"),
        (
            "price",
            json!({"currency_code": "ZZZ", "units": 10_000_000, "nanos": 1_000}),
            "book.price",
        ),
        ("price", json!({"currency_code": "ZZZ", "units": 10_000_001}), "book.price"),
        ("price", json!({"currency_code": "ZZZ", "units": 1, "nanos": 999_999_999}), "book.price"),
    ] {
        let over = with(largest.clone(), json!({field: value}));
        refused(books.create_book(create("", over)).await).is_invalid(&[at]);
    }
    // Free-form data is measured in bytes of JSON, where a quote takes two.
    let quotes = with(a_book("x"), json!({"attributes": {"a": "\"".repeat(32_764)}}));
    done(books.create_book(create("", quotes)).await);
    let quotes = with(a_book("x"), json!({"attributes": {"a": "\"".repeat(32_765)}}));
    refused(books.create_book(create("", quotes)).await).is_invalid(&["book.attributes"]);
}

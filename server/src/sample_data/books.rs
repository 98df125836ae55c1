//! The books of the sample data. Book number n is the same in every database.

use bookstore_proto::v1::{Book, CreateBookRequest, Money};
use prost_types::{Struct, Value, value::Kind};

use super::{
    ids::{BOOK, CATEGORY, id},
    orders,
};

const ADJECTIVES: [&str; 10] = [
    "Silent",
    "Hidden",
    "Burning",
    "Last",
    "Winter",
    "Glass",
    "Distant",
    "Crooked",
    "Golden",
    "Forgotten",
];
const NOUNS: [&str; 10] = [
    "Garden",
    "River",
    "Library",
    "Orchard",
    "Lighthouse",
    "Cathedral",
    "Harbour",
    "Machine",
    "Mountain",
    "Letter",
];
const SETTINGS: [&str; 5] = ["", " of Lisbon", " in the North", " at Night", " and the Sea"];
const FIRST_NAMES: [&str; 10] =
    ["Ada", "Björn", "Chiara", "Dmitri", "Elena", "Farid", "Grace", "Hana", "Inês", "João"];
const LAST_NAMES: [&str; 7] =
    ["Almeida", "Brontë", "Castillo", "Dvořák", "Eriksen", "Fontaine", "Grünwald"];
const LANGUAGES: [&str; 4] = ["eng", "ger", "por", "fra"];

/// Book number n. The steps are prime to the lists' lengths, so that all pairs come up.
pub(super) fn book(n: u128) -> CreateBookRequest {
    let at = |step: u128, length: usize| {
        usize::try_from(n * step / 7 % length as u128).unwrap_or_default()
    };
    let title =
        format!("The {} {}{}", ADJECTIVES[at(7, 10)], NOUNS[at(11, 10)], SETTINGS[at(3, 5)]);
    let author = format!("{} {}", FIRST_NAMES[at(5, 10)], LAST_NAMES[at(13, 7)]);
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let pages = Value { kind: Some(Kind::NumberValue(120.0 + at(17, 480) as f64)) };
    let attributes =
        [("language".to_owned(), text(LANGUAGES[at(9, 4)])), ("pages".to_owned(), pages)];
    let category = (!n.is_multiple_of(6)).then(|| id(CATEGORY, n % 6));
    let cents = i32::try_from(n * 37 % 100).unwrap_or_default();
    let book = Book {
        description: n.is_multiple_of(3).then(|| format!("{title}, told by {author}.")),
        title,
        author,
        price: Some(Money {
            currency_code: "USD".into(),
            units: i64::try_from(5 + n * 13 % 40).unwrap_or_default(),
            nanos: cents * 10_000_000,
        }),
        // What the sample orders take is put on top.
        stock: i32::try_from(n * 31 % 60).unwrap_or_default() + orders::copies_of(n),
        category_id: category,
        attributes: Some(Struct { fields: attributes.into() }),
        ..Default::default()
    };
    CreateBookRequest { book: Some(book), id: id(BOOK, n) }
}

//! A generated set of books to try the service with, the same at every start.

use bookstore_proto::v1::{
    BatchCreateBooksRequest, Book, CreateBookRequest, ListBooksRequest, Money,
};
use bookstore_store::Deadline;
use prost_types::{Struct, Value, value::Kind};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::{
    budget,
    rpc::{
        calls::Calls,
        consistency::Consistency,
        context::{AnswerCell, RequestContext},
        session::SessionCell,
    },
    security::audit::PeerAddress,
};

/// How many books there are.
const BOOKS: u128 = 500;

/// The id of book number n is this number plus n.
const FIRST_ID: u128 = 0x0193_0000_0000_7000_8000_0000_0001_0000;

/// The categories' ids are this number plus 1 to 5: the schema brings them.
const CATEGORY_ID: u128 = 0x0193_0000_0000_7000_8000_0000_0000_0000;

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

/// Loads the set into an empty database; one that has books stays as it is.
///
/// # Errors
/// What the program's own calls need.
pub async fn load(calls: &Calls) -> Result<(), Status> {
    let any = ListBooksRequest { page_size: 1, ..Default::default() };
    if !calls.read(request(any)).await?.get_ref().books.is_empty() {
        tracing::info!("the database has books already: no sample data is loaded");
        return Ok(());
    }
    let requests = (1..=BOOKS).map(book).collect();
    calls.write(request(BatchCreateBooksRequest { requests })).await?;
    tracing::info!("sample data loaded: {BOOKS} books");
    Ok(())
}

/// A request of the program's own. It doesn't pass the layers.
fn request<R>(message: R) -> Request<R> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(RequestContext {
        method: "sample-data",
        request_id: "sample-data".into(),
        deadline: Deadline::NONE,
        consistency: Consistency::Strong,
        consistency_token: None,
        session: SessionCell::default(),
        budget: budget::unbounded(),
        principal: None,
        peer: PeerAddress::Unknown,
        stream_access: None,
        control: None,
        idempotency: None,
        validate_only: false,
        repeated: false,
        field_mask: None,
        answer: AnswerCell::default(),
    });
    request
}

/// Book number n. The steps are prime to the lists' lengths, so that all pairs come up.
fn book(n: u128) -> CreateBookRequest {
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
    let category = (!n.is_multiple_of(6)).then(|| Uuid::from_u128(CATEGORY_ID + n % 6).to_string());
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
        stock: i32::try_from(n * 31 % 60).unwrap_or_default(),
        category_id: category,
        attributes: Some(Struct { fields: attributes.into() }),
        ..Default::default()
    };
    CreateBookRequest { book: Some(book), id: Uuid::from_u128(FIRST_ID + n).to_string() }
}

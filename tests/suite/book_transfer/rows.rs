//! The rows of a batch: written as a create or an update would, or rejected with every reason.

use std::collections::HashMap;

use bookstore_proto::v1::{
    Book, ExportBooksRequest, GetBookRequest, ImportBooksAcknowledgement, ImportBooksBatch,
    ImportBooksRequest, ImportBooksRow, UpdateBookRequest, import_books_request::Step,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use prost_reflect::prost_types::{Struct, Value as Any, value::Kind};
use serde_json::{Value, json};

use super::{Import, count, export, import, row, upsert};
use crate::client::{FICTION, SCIENCE, a_book, books, create, done, id, message, with};

on_every_engine!(
    imported_row_equals_a_created_book,
    bad_row_is_rejected_and_the_others_are_imported,
    import_upsert_changes_only_fields_of_the_mask,
    import_and_export_keep_text_of_every_script,
    import_batch_over_the_limit_is_refused,
);

/// Books with every field set, and with only the required ones.
fn all_kinds() -> Vec<Value> {
    let whole = json!({
        "description": "the first of six",
        "stock": 2_147_483_647,
        "category_id": FICTION,
        "cover_image": "https://covers.example/dune.png",
        "attributes": {"language": "eng", "pages": 412.5, "tags": ["a", null, {"b": true}]},
        "price": {"currency_code": "EUR", "units": 10_000_000},
    });
    let empty = json!({"description": "", "cover_image": "", "attributes": {}});
    vec![with(a_book("whole"), whole), with(a_book("empty"), empty), a_book("few")]
}

async fn imported_row_equals_a_created_book(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    for (number, book) in (1..).zip(all_kinds()) {
        done(books.create_book(create(&id(number), book)).await);
    }
    // Output-only fields are ignored, as in a create.
    let sent = json!({"etag": "x", "id": "x", "create_time": "2001-02-03T04:05:06Z"});
    let mut rows: Vec<Value> = (11..)
        .zip(all_kinds())
        .map(|(number, book)| row(number, with(book, sent.clone())))
        .collect();
    rows.push(json!({"book": a_book("made")}));
    let imported = import(&server, json!({}), &rows).await;
    assert_eq!((imported.inserted, imported.updated, imported.rejections.len()), (4, 0, 0));

    for number in 1..=3 {
        let created =
            done(books.get_book(GetBookRequest { id: id(number), ..Default::default() }).await);
        let imported = done(
            books.get_book(GetBookRequest { id: id(number + 10), ..Default::default() }).await,
        );
        let (id, etag) = (imported.id.clone(), imported.etag.clone());
        let (create_time, update_time) = (imported.create_time, imported.update_time);
        assert!(create_time.is_some() && create_time == update_time);
        assert_eq!(imported, Book { id, etag, create_time, update_time, ..created });
        // Its first version, as in the etag of a created book.
        let change = json!({"book": {"id": imported.id, "etag": imported.etag, "stock": 4}});
        done(books.update_book(message::<UpdateBookRequest>(change)).await);
    }
    let versions = "SELECT version FROM books WHERE title = 'made'";
    assert_eq!(server.database().value(versions).await, "1");
    let made = export(&server, filter("title = made")).await;
    let made = uuid::Uuid::parse_str(&made[0].id).expect("an id that was made");
    assert_eq!(made.get_version_num(), 7);
}

fn filter(text: &str) -> ExportBooksRequest {
    ExportBooksRequest { filter: text.to_owned(), ..Default::default() }
}

/// Lines, fields and reasons of the rejected rows.
fn rejections(acknowledgement: &ImportBooksAcknowledgement) -> Vec<(i64, &str, &str)> {
    let rejections = acknowledgement.rejections.iter();
    rejections.map(|it| (it.line, it.field.as_str(), it.reason.as_str())).collect()
}

async fn bad_row_is_rejected_and_the_others_are_imported(engine: Engine) {
    let server = TestServer::start(engine).await;
    let taken = done(books(&server).create_book(create(&id(1), a_book("Dune"))).await);
    let but = |members: Value| with(a_book("bad"), members);
    let price = json!({"currency_code": "eur", "units": -1, "nanos": 5});
    let missing = id(77);
    let (long, wide) = ("x".repeat(742), "ü".repeat(10_001));
    let rows = vec![
        row(1, a_book("taken")),
        row(2, a_book("good")),
        json!({"line": 30}),
        json!({"line": 40, "id": "X", "book": a_book("an id that is none")}),
        row(5, but(json!({"title": long, "description": wide}))),
        row(6, but(json!({"title": "", "stock": -1, "price": price}))),
        row(7, but(json!({"category_id": missing}))),
        row(8, but(json!({"category_id": "fiction", "cover_image": "y".repeat(501)}))),
        row(2, a_book("twice")),
        row(10, but(json!({"attributes": {"a\0": "\0", "b": "\0"}}))),
        row(11, but(json!({"attributes": {"a": "z".repeat(65_536)}}))),
        row(12, but(json!({"attributes": {"a": "z".repeat(600_000)}}))),
        row(13, but(json!({"author": null, "price": null}))),
        row(14, but(json!({"category_id": SCIENCE}))),
        row(7, a_book("the first of its id was rejected for its category")),
        row(6, a_book("the first row of this id is invalid")),
        row(1, a_book("taken as well, and only the first is reported")),
    ];
    let mut import = Import::begin(&server, &id(900), json!({})).await;
    import.send(json!({"batch": {"number": 1, "rows": rows}})).await;
    let answer = import.acknowledgement().await.expect("a batch");
    let wanted = [
        (10, "id", "is already taken"),
        (30, "book", "is required"),
        (40, "id", "must be a lower-case UUID"),
        (50, "title", "must have 1 to 255 characters; it has 742"),
        (50, "description", "must have at most 10000 characters; it has 10001"),
        (60, "title", "is required"),
        (60, "price", "nanos must be a multiple of 1,000 (whole micros)"),
        (60, "price.currency_code", "must be three capital letters, as in ISO 4217"),
        (60, "price.units", "must be at least 0; it is -1"),
        (60, "stock", "must be at least 0; it is -1"),
        (70, "category_id", "names no category that exists"),
        (80, "category_id", "must be a lower-case UUID"),
        (80, "cover_image", "must have at most 500 characters; it has 501"),
        (20, "id", "stands in this batch already"),
        (100, "attributes", "must not hold a NUL character"),
        (110, "attributes", "must be at most 65536 bytes as JSON; it is 65544"),
        (120, "attributes", "must be at most 65536 bytes as JSON; it is far more"),
        (130, "author", "is required"),
        (130, "price", "is required"),
        (70, "id", "stands in this batch already"),
        (10, "id", "stands in this batch already"),
    ];
    assert_eq!(rejections(&answer), wanted);
    assert_eq!((answer.inserted, answer.updated, answer.rejected), (3, 0, 14));
    let summary = import.end(1, 17).await.expect("an end");
    assert_eq!((summary.inserted, summary.rejected), (3, 14));

    // The other rows are there, and existing books are unchanged.
    let mut titles: HashMap<String, String> = HashMap::new();
    for book in export(&server, ExportBooksRequest::default()).await {
        if book.id == taken.id {
            assert_eq!(book, taken);
        }
        titles.insert(book.id, book.title);
    }
    assert_eq!(titles.len(), 4);
    assert_eq!(titles[&id(2)], "good");
    assert_eq!(titles[&id(6)], "the first row of this id is invalid");

    // A number without a form in JSON can't be written as JSON here either.
    let kind = Some(Kind::NumberValue(f64::NAN));
    let attributes = Some(Struct { fields: [("a".into(), Any { kind })].into() });
    let book = Book { attributes, ..message(a_book("nan")) };
    let rows = vec![ImportBooksRow { line: 1, book: Some(book), id: String::new() }];
    let step = Some(Step::Batch(ImportBooksBatch { number: 1, rows }));
    let mut import = Import::begin(&server, &id(901), json!({})).await;
    import.send_message(ImportBooksRequest { step }).await;
    let answer = import.acknowledgement().await.expect("a batch");
    assert_eq!(rejections(&answer), [(1, "attributes", "must not hold NaN, which JSON has not")]);
}

async fn import_upsert_changes_only_fields_of_the_mask(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let whole = || with(all_kinds()[0].clone(), json!({"stock": 3}));
    let mut before = HashMap::new();
    for number in [1, 2, 3] {
        let book = done(books.create_book(create(&id(number), whole())).await);
        before.insert(number, book);
    }
    let options = with(upsert(), json!({"key": "id", "update_mask": "stock,categoryId"}));
    let rows = [
        row(1, with(a_book("not named"), json!({"stock": 9}))),
        // A row without a change.
        row(2, whole()),
        row(4, with(a_book("new"), json!({"stock": 9, "description": "d"}))),
        // A row must be a valid whole book all the same.
        row(3, json!({"stock": 9})),
    ];
    let answer = import(&server, options, &rows).await;
    assert_eq!((answer.inserted, answer.updated, answer.rejected), (1, 2, 1));
    let fields: Vec<_> = rejections(&answer).into_iter().map(|(_, field, _)| field).collect();
    assert_eq!(fields, ["title", "author", "price"]);

    let mut get = async |number| {
        done(books.get_book(GetBookRequest { id: id(number), ..Default::default() }).await)
    };
    let changed = get(1).await;
    let Book { etag, update_time, .. } = changed.clone();
    assert!(etag != before[&1].etag && update_time != before[&1].update_time);
    let wanted = Book { stock: 9, category_id: None, etag, update_time, ..before[&1].clone() };
    assert_eq!(changed, wanted);
    let same = get(2).await;
    let Book { etag, update_time, .. } = same.clone();
    assert!(etag != before[&2].etag, "an unchanged row counts as an update");
    assert_eq!(same, Book { etag, update_time, ..before[&2].clone() });
    assert_eq!(get(3).await, before[&3]);
    let new = get(4).await;
    assert_eq!((new.stock, new.title.as_str(), new.description.as_deref()), (9, "new", Some("d")));

    // Without a mask the whole book is replaced, unset fields included.
    let answer = import(&server, upsert(), &[row(1, a_book("few"))]).await;
    assert_eq!((answer.inserted, answer.updated), (0, 1));
    let changed = get(1).await;
    let Book { etag, update_time, create_time, .. } = changed.clone();
    assert_eq!(create_time, before[&1].create_time);
    let few = Book { id: id(1), etag, create_time, update_time, ..message(a_book("few")) };
    assert_eq!(changed, few);
    let versions = "SELECT version FROM books ORDER BY id";
    let versions: Vec<_> = server.sql(versions).await.concat().into_iter().flatten().collect();
    assert_eq!(versions, ["3", "2", "1", "1"]);
}

/// Typical authors, titles and descriptions.
const TEXTS: &[&str] = &[
    "Gabriel García Márquez",
    "Лев Николаевич Толстой",
    "村上 春樹",
    "नागार्जुन",
    "محمود درويش",
    "שמואל יוסף עגנון",
    "Τζορτζ \"Ό\" Όργουελ",
    "O'Brien; DROP TABLE books; --",
    "comma, \"quote\", back\\slash, tab\t, line\nbreak, carriage\r\nreturn",
    "{curly} [square] (round) NULL null 'NULL' $1 ? :a @b %s",
    "e\u{301} is not é, \u{200f}bidi\u{200e}, \u{feff}mark, \u{1f469}\u{200d}\u{1f4bb}",
    " leading and trailing ",
    "\u{1}\u{7f}\u{10ffff}",
];

async fn import_and_export_keep_text_of_every_script(engine: Engine) {
    let server = TestServer::start(engine).await;
    let sent: Vec<Value> = (1..)
        .zip(TEXTS)
        .map(|(number, text)| {
            let texts = json!({
                "author": text,
                "description": text,
                "cover_image": text,
                "attributes": {*text: text, "list": [text, 0.1, 1e300, -0.5, null]},
            });
            row(number, with(a_book(text), texts))
        })
        .collect();
    let answer = import(&server, json!({}), &sent).await;
    assert_eq!(rejections(&answer), []);
    let books: HashMap<String, Book> = export(&server, ExportBooksRequest::default())
        .await
        .into_iter()
        .map(|book| (book.id.clone(), book))
        .collect();
    assert_eq!(books.len(), TEXTS.len());
    for row in &sent {
        let book = books[row["id"].as_str().expect("an id")].clone();
        let Book { id, etag, create_time, update_time, .. } = book.clone();
        let sent: Book = message(row["book"].clone());
        assert_eq!(book, Book { id, etag, create_time, update_time, ..sent });
    }
}

async fn import_batch_over_the_limit_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rows = |count: u32, size: usize| -> Vec<Value> {
        let text = "ü".repeat(size / 2);
        let book = with(a_book("large"), json!({"description": text}));
        (1..=count).map(|number| row(number, book.clone())).collect()
    };
    let mut import = Import::begin(&server, &id(900), upsert()).await;
    for (number, inserted) in [(1, 1_000), (2, 0)] {
        let answer = import.batch(number, &rows(1_000, 4_000)).await.expect("nearly 4 MiB");
        assert_eq!((answer.inserted, answer.updated), (inserted, 1_000 - inserted));
    }
    import.send(json!({"batch": {"number": 3, "rows": rows(250, 18_000)}})).await;
    let refused = super::refusal(import.acknowledgement().await);
    refused.is(tonic::Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
    assert_eq!(count(&server).await, 1000);
    assert_eq!(export(&server, ExportBooksRequest::default()).await.len(), 1_000);

    let mut import = Import::begin(&server, &id(901), upsert()).await;
    import.send(json!({"batch": {"number": 1, "rows": rows(1_001, 2)}})).await;
    import.refusal().await.is_invalid(&["batch.rows"]);
    let mut import = Import::begin(&server, &id(901), upsert()).await;
    import.send(json!({"batch": {"number": 0}})).await;
    import.refusal().await.is_invalid(&["batch.rows", "batch.number"]);
}

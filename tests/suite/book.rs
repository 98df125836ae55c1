//! The standard methods of `BookService`, one book at a time.

pub(crate) mod search;
mod values;
mod view;
mod view_of_lists;

use std::time::{Duration, SystemTime};

use bookstore_proto::v1::{
    Book, CreateBookRequest, DeleteBookRequest, GetBookRequest, UpdateBookRequest,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use prost_reflect::prost_types::Timestamp;
use serde_json::{Value, json};

use crate::client::{
    Books, FICTION, Refusal, SCIENCE, a_book, books, create, done, id, mask, message, refused, with,
};

on_every_engine!(
    create_book_returns_and_stores_what_was_sent,
    update_book_changes_only_fields_of_the_mask,
    update_book_validates_only_fields_of_the_mask,
    update_with_an_old_etag_is_refused,
    update_with_allow_missing_creates_or_updates,
    delete_book_twice_returns_not_found,
);

fn get(id: &str) -> GetBookRequest {
    GetBookRequest { id: id.to_owned(), ..Default::default() }
}

fn delete(json: Value) -> DeleteBookRequest {
    message(json)
}

async fn update(books: &mut Books, book: Value, paths: &[&str]) -> Result<Book, Refusal> {
    let mut request = json!({"book": book});
    if !paths.is_empty() {
        request["update_mask"] = mask(paths);
    }
    send(books, request).await
}

async fn send(books: &mut Books, request: Value) -> Result<Book, Refusal> {
    let answer = books.update_book(message::<UpdateBookRequest>(request)).await;
    answer.map(|answer| answer.into_inner()).map_err(|status| Refusal::from(&status))
}

/// A book with every field that a caller may set.
fn full() -> Value {
    with(
        a_book("Dune"),
        json!({
            "description": "Sand",
            "stock": 3,
            "category_id": FICTION,
            "cover_image": "https://example.org/dune.png",
            "attributes": {"language": "eng"},
        }),
    )
}

fn time(time: Option<Timestamp>) -> SystemTime {
    SystemTime::try_from(time.expect("a time")).expect("a time of this age")
}

async fn create_book_returns_and_stores_what_was_sent(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let ignored = json!({
        "id": "no id",
        "create_time": "2001-02-03T04:05:06Z",
        "update_time": "2001-02-03T04:05:06Z",
        "etag": "anything",
    });
    let before = SystemTime::now();
    let created = done(books.create_book(create(&id(1), with(full(), ignored))).await);
    let after = SystemTime::now();

    let mut wanted: Book = message(full());
    wanted.id = id(1);
    wanted.etag.clone_from(&created.etag);
    wanted.create_time = created.create_time;
    wanted.update_time = created.create_time;
    assert_eq!(created, wanted);
    assert!(!created.etag.is_empty() && created.etag != "anything", "{}", created.etag);
    // Times have microseconds.
    let earliest = before - Duration::from_micros(1);
    let time = time(created.create_time);
    assert!(earliest <= time && time <= after, "{earliest:?} {time:?} {after:?}");
    let nanos = created.create_time.expect("a time").nanos;
    assert_eq!(nanos % 1_000, 0, "whole microseconds: {nanos}");
    assert_eq!(done(books.get_book(get(&id(1))).await), created);

    let columns = "id, title, author, description, price_micros, currency_code, stock, category_id, \
                   cover_image, attributes ->> 'language', version";
    let row = server.sql(&format!("SELECT {columns} FROM books")).await;
    let first = id(1);
    let wanted = [
        first.as_str(),
        "Dune",
        "Frank Herbert",
        "Sand",
        "12990000",
        "USD",
        "3",
        FICTION,
        "https://example.org/dune.png",
        "eng",
        "1",
    ];
    assert_eq!(row, [wanted.map(|text| Some(text.to_owned())).to_vec()]);

    refused(books.create_book(create(&id(1), a_book("Twin"))).await).is_taken(&["id"]);
    let lost = with(a_book("Lost"), json!({"category_id": id(404)}));
    refused(books.create_book(create("", lost)).await).has_no_reference(&["book.category_id"]);

    // The service creates the id: version 7 of RFC 9562's variant. Unset fields stay unset.
    let made = done(books.create_book(create("", a_book("Made"))).await);
    let shape =
        regex::Regex::new("^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$");
    assert!(shape.expect("a pattern").is_match(&made.id), "{}", made.id);
    assert_eq!((made.description, made.category_id, made.cover_image), (None, None, None));
    assert_eq!((made.stock, made.attributes), (0, None));

    let empty = with(a_book("Empty"), json!({"description": "", "cover_image": ""}));
    let empty = done(books.create_book(create("", empty)).await);
    let empty = done(books.get_book(get(&empty.id)).await);
    assert_eq!((empty.description.as_deref(), empty.cover_image.as_deref()), (Some(""), Some("")));
    refused(books.get_book(get(&id(404))).await)
        .is_missing(&["id"])
        .says("resource", "book")
        .says("id", &id(404));
}

async fn update_book_changes_only_fields_of_the_mask(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let first = done(books.create_book(create(&id(1), full())).await);

    // Only fields of the mask change, whatever else is sent.
    let other = json!({"id": id(1), "title": "Messiah", "author": "Nobody", "stock": 9,
        "description": "Other", "create_time": "2001-02-03T04:05:06Z"});
    let second = update(&mut books, other, &["title"]).await.expect("an update");
    assert_ne!(second.etag, first.etag);
    assert!(time(second.update_time) > time(first.update_time));
    let wanted = Book {
        title: "Messiah".into(),
        etag: second.etag.clone(),
        update_time: second.update_time,
        ..first
    };
    assert_eq!(second, wanted);
    assert_eq!(done(books.get_book(get(&id(1))).await), wanted);

    // Without a mask populated fields change: "" is populated, a stock of 0 isn't.
    let populated = json!({"id": id(1), "description": "", "stock": 0, "author": "F. H."});
    let third = update(&mut books, populated, &[]).await.expect("an update");
    let wanted = Book {
        description: Some(String::new()),
        author: "F. H.".into(),
        etag: third.etag.clone(),
        update_time: third.update_time,
        ..wanted
    };
    assert_eq!(third, wanted);

    // A field that is named and unset is cleared.
    let named = ["description", "stock", "category_id", "cover_image", "attributes", "stock"];
    let cleared = update(&mut books, json!({"id": id(1)}), &named).await.expect("an update");
    assert_eq!(
        (&cleared.description, &cleared.category_id, &cleared.cover_image),
        (&None, &None, &None)
    );
    assert_eq!((cleared.stock, &cleared.attributes), (0, &None));
    assert_eq!((&cleared.title, &cleared.price), (&wanted.title, &wanted.price));
    let nulls = "SELECT count(*) FROM books WHERE description IS NULL AND category_id IS NULL \
                 AND cover_image IS NULL";
    assert_eq!(server.database().value(nulls).await, "1");

    // `*` stands for every field that a caller may set.
    let all = with(full(), json!({"id": id(1), "cover_image": null, "category_id": SCIENCE}));
    let replaced = update(&mut books, all.clone(), &["*"]).await.expect("an update");
    let mut wanted: Book = message(all);
    wanted.create_time = replaced.create_time;
    wanted.update_time = replaced.update_time;
    wanted.etag.clone_from(&replaced.etag);
    assert_eq!(replaced, wanted);
    assert_eq!(replaced.create_time, cleared.create_time);

    let lost = json!({"id": id(1), "category_id": id(404)});
    let refusal = update(&mut books, lost, &["category_id"]).await.expect_err("no category");
    refusal.has_no_reference(&["book.category_id"]);
    let missing = json!({"id": id(404), "title": "x"});
    let refusal = update(&mut books, missing, &["title"]).await.expect_err("no book");
    refusal.is_missing(&["book.id"]);
    assert_eq!(done(books.get_book(get(&id(1))).await), replaced);
}

async fn update_book_validates_only_fields_of_the_mask(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    done(books.create_book(create(&id(1), full())).await);
    let bad = json!({
        "id": id(1),
        "author": "x".repeat(256),
        "price": {"currency_code": "usd", "units": -1, "nanos": 1},
        "stock": -5,
        "category_id": "Fiction",
        "cover_image": "x".repeat(501),
        "attributes": {"a": "x".repeat(70_000)},
        "description": "fine",
    });
    for (paths, fields) in [
        (&["title"][..], &["book.title"][..]),
        (&["author", "title"], &["book.author", "book.title"]),
        (&["price"], &["book.price", "book.price.currency_code", "book.price.units"]),
        (&["stock", "category_id"], &["book.category_id", "book.stock"]),
        (&["attributes", "description"], &["book.attributes"]),
        (
            &["*"],
            &[
                "book.title",
                "book.author",
                "book.price",
                "book.price.currency_code",
                "book.price.units",
                "book.stock",
                "book.category_id",
                "book.cover_image",
                "book.attributes",
            ],
        ),
    ] {
        let refusal = update(&mut books, bad.clone(), paths).await.expect_err("bad values");
        refusal.is_invalid(fields);
    }
    let updated = update(&mut books, bad, &["description"]).await.expect("only allowed statements");
    let wanted: Book = message(full());
    assert_eq!(updated.description.as_deref(), Some("fine"));
    assert_eq!((updated.price, updated.stock), (wanted.price, wanted.stock));
}

async fn update_with_an_old_etag_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let first = done(books.create_book(create(&id(1), full())).await);
    let other = done(books.create_book(create(&id(2), full())).await);
    let book = |etag: &str, stock: i32| json!({"id": id(1), "etag": etag, "stock": stock});
    let second = update(&mut books, book(&first.etag, 4), &["stock"]).await.expect("the newest");
    for stale in [first.etag.as_str(), "garbage", &other.etag, &second.etag[1..], " "] {
        let refusal =
            update(&mut books, book(stale, 5), &["stock"]).await.expect_err("an outdated etag");
        refusal.is_stale("book.etag").says("resource", "book").says("id", &id(1));
        let request = delete(json!({"id": id(1), "etag": stale, "allow_missing": true}));
        refused(books.delete_book(request).await).is_stale("etag");
    }
    assert_eq!(done(books.get_book(get(&id(1))).await), second);
    let third = update(&mut books, book("", 6), &["stock"]).await.expect("a state");
    assert_eq!(third.stock, 6);

    // A book that is created again under the same id has another etag.
    done(books.delete_book(delete(json!({"id": id(1), "etag": third.etag}))).await);
    let again = done(books.create_book(create(&id(1), full())).await);
    assert_ne!(again.etag, first.etag);
    let refusal =
        update(&mut books, book(&first.etag, 7), &["stock"]).await.expect_err("another etag");
    refusal.is_stale("book.etag");
}

async fn update_with_allow_missing_creates_or_updates(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let request = |book: Value, paths: &[&str]| json!({"book": book, "update_mask": mask(paths), "allow_missing": true});
    // The mask is ignored where the book has to be created.
    let book = with(full(), json!({"id": id(1)}));
    let created = send(&mut books, request(book, &["title"])).await.expect("a new book");
    let wanted: Book = message(full());
    assert_eq!(created.create_time, created.update_time);
    assert_eq!((created.stock, &created.description), (wanted.stock, &wanted.description));
    assert_eq!(created.attributes, wanted.attributes);

    // So the rules of all fields apply, though the mask names no field that breaks one.
    let half = json!({"id": id(2), "title": "Half", "stock": -1});
    let refusal = send(&mut books, request(half, &["title"])).await.expect_err("half a book");
    refusal.is_invalid(&["book.author", "book.price", "book.stock"]);
    let lost = with(full(), json!({"id": id(2), "category_id": id(404)}));
    let refusal = send(&mut books, request(lost, &["title"])).await.expect_err("no category");
    refusal.has_no_reference(&["book.category_id"]);
    let old = with(full(), json!({"id": id(2), "etag": created.etag}));
    let refusal = send(&mut books, request(old, &["title"])).await.expect_err("no such state");
    refusal.is_stale("book.etag");
    refused(books.get_book(get(&id(2))).await).is_missing(&["id"]);

    // An existing book changes by the mask.
    let half = json!({"id": id(1), "title": "Half", "stock": -1});
    let updated = send(&mut books, request(half, &["title"])).await.expect("an update");
    assert_eq!((updated.title.as_str(), updated.stock), ("Half", 3));
    assert_eq!(updated.create_time, created.create_time);
    assert_ne!(updated.etag, created.etag);
}

async fn delete_book_twice_returns_not_found(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    for number in [1, 2] {
        done(books.create_book(create(&id(number), full())).await);
    }
    done(books.delete_book(delete(json!({"id": id(1)}))).await);
    refused(books.delete_book(delete(json!({"id": id(1)}))).await).is_missing(&["id"]);
    done(books.delete_book(delete(json!({"id": id(1), "allow_missing": true}))).await);
    refused(books.get_book(get(&id(1))).await).is_missing(&["id"]);
    assert_eq!(server.database().value("SELECT count(*) FROM books").await, "1");
    // The id can be used again.
    let request: CreateBookRequest = create(&id(1), full());
    done(books.create_book(request).await);
}

//! Every filter of the tables, through gRPC.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};

use super::{list, titles};
use crate::{
    client::{Books, books, create_all, done, literal, mask, message, with},
    filter_books::BOOKS,
    filter_cases::{Answer, FILTER_CASES, NON_ASCII_CASE},
};

on_every_engine!(
    every_filter_returns_its_books,
    filter_by_time_compares_microseconds_in_any_offset
);

/// Creates the books with their ids of the table.
async fn create_books(books: &mut Books) {
    let requests: Vec<Value> = BOOKS
        .iter()
        .map(|book| {
            let attributes: Value = serde_json::from_str(book.attributes).expect("JSON");
            let (units, micros) = (book.price_micros / 1_000_000, book.price_micros % 1_000_000);
            json!({
                "id": book.id,
                "book": {
                    "title": book.title,
                    "author": book.author,
                    "description": book.description,
                    "price": {
                        "currency_code": book.currency_code,
                        "units": units,
                        "nanos": micros * 1_000,
                    },
                    "stock": book.stock,
                    "category_id": book.category_id,
                    "attributes": attributes,
                },
            })
        })
        .collect();
    let request = json!({"requests": requests});
    done(
        books
            .batch_create_books(message::<bookstore_proto::v1::BatchCreateBooksRequest>(request))
            .await,
    );
}

async fn every_filter_returns_its_books(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    create_books(&mut books).await;
    let (filter, on_postgres, on_sqlite) = NON_ASCII_CASE;
    let apart = Answer::Titles(match engine {
        Engine::Postgres => on_postgres,
        Engine::Sqlite => on_sqlite,
    });
    let mut wrong = Vec::new();
    for (filter, answer) in FILTER_CASES.iter().chain([&(filter, apart)]) {
        let request = json!({"filter": filter, "order_by": "title", "page_size": 1_000,
            "total_size_mode": "TOTAL_SIZE_MODE_EXACT"});
        match (list(&mut books, request).await, answer) {
            (Ok(page), Answer::Titles(wanted)) => {
                let total = i64::try_from(wanted.len()).ok();
                if titles(&page.books) != *wanted || page.total_size != total {
                    wrong.push(format!(
                        "{filter}: {:?} {:?}",
                        titles(&page.books),
                        page.total_size
                    ));
                }
            }
            (Err(refusal), Answer::Refused(words)) => {
                let at_filter = refusal.reason == "FIELD_INVALID" && refusal.fields == ["filter"];
                if !at_filter || !refusal.message.contains(words) {
                    wrong.push(format!("{filter}: {refusal:?}"));
                }
            }
            (Ok(page), Answer::Refused(_)) => {
                wrong.push(format!("{filter}: {:?}", titles(&page.books)));
            }
            (Err(refusal), Answer::Titles(_)) => wrong.push(format!("{filter}: {refusal:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), FILTER_CASES.len(), wrong.join("\n"));
}

/// Times have microseconds, in any offset.
async fn filter_by_time_compares_microseconds_in_any_offset(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut books = books(&server);
    let created = create_all(&mut books, &["a", "b"].map(crate::client::a_book)).await;
    let later = json!({"book": {"id": created[1].id, "stock": 4}, "update_mask": mask(&["stock"])});
    let later = books.update_book(message::<bookstore_proto::v1::UpdateBookRequest>(later)).await;
    let later = done(later);
    // A known time of creation; whole seconds are written without a fraction.
    let times = ["2020-02-29T23:59:59.123456+00:00", "2020-03-01T00:00:00+00:00"];
    for (book, time) in created.iter().zip(times) {
        let id = literal(engine, &book.id);
        server.sql(&format!("UPDATE books SET created_at = '{time}' WHERE id = {id}")).await;
    }
    let update_time = later.update_time.expect("a time").to_string();
    for (filter, wanted) in [
        (format!("update_time = \"{update_time}\""), &["b"][..]),
        (format!("update_time < \"{update_time}\""), &["a"]),
        (format!("update_time >= \"{update_time}\""), &["b"]),
        ("update_time > \"2001-01-01T00:00:00Z\" create_time:*".to_owned(), &["a", "b"]),
        ("create_time > \"9999-12-31T23:59:59.999999Z\"".to_owned(), &[]),
        ("create_time >= \"0001-01-01T00:00:00Z\"".to_owned(), &["a", "b"]),
        ("create_time = \"2020-02-29T23:59:59.123456Z\"".to_owned(), &["a"]),
        ("create_time = \"2020-03-01T01:59:59.1234569+02:00\"".to_owned(), &["a"]),
        ("create_time = \"2020-03-01T00:00:00.000Z\"".to_owned(), &["b"]),
        ("create_time < \"2020-03-01T00:00:00Z\"".to_owned(), &["a"]),
        ("create_time > \"2020-02-29T23:59:59.999999Z\"".to_owned(), &["b"]),
        ("create_time > \"2020-02-29T23:59:59.123455Z\"".to_owned(), &["a", "b"]),
    ] {
        let request = json!({"filter": filter, "order_by": "title"});
        let page = list(&mut books, with(request, json!({"page_size": 10}))).await.expect("a page");
        assert_eq!(titles(&page.books), wanted, "{filter}");
    }
}

//! Exports: their books, how they resume, and the connections they use.

use bookstore_proto::v1::{
    DeleteBookRequest, ExportBooksRequest, GetBookRequest, ImportBooksAcknowledgement,
    ListBooksRequest, UpdateBookRequest,
};
use bookstore_tests::{Engine, TestServer, on_every_engine, raw};
use serde_json::{Value, json};

use super::{client, export, import, row};
use crate::client::{SCIENCE, a_book, books, done, id, message, with};

on_every_engine!(
    export_returns_the_books_of_the_same_list,
    export_resumed_by_token_continues_after_the_last_book,
    export_to_a_slow_reader_holds_no_connection,
);

const BOOKS: u32 = 2_403;

/// Imports books whose stock is their position.
async fn stocked(server: &TestServer, description: usize) {
    let text = "d".repeat(description);
    let book = |stock: u32| {
        let category = if stock.is_multiple_of(2) { json!(SCIENCE) } else { Value::Null };
        let own = json!({"stock": stock, "description": text, "category_id": category});
        row(stock, with(a_book("Dune"), own))
    };
    let rows: Vec<Value> = (1..=BOOKS).map(book).collect();
    for rows in rows.chunks(600) {
        let ImportBooksAcknowledgement { rejected, .. } = import(server, json!({}), rows).await;
        assert_eq!(rejected, 0);
    }
}

fn by_stock() -> ExportBooksRequest {
    ExportBooksRequest { order_by: "stock".into(), ..Default::default() }
}

async fn export_returns_the_books_of_the_same_list(engine: Engine) {
    let server = TestServer::start(engine).await;
    assert_eq!(export(&server, by_stock()).await, [], "one message, and no book");
    stocked(&server, 3).await;
    let all = export(&server, by_stock()).await;
    let stocks: Vec<i32> = all.iter().map(|book| book.stock).collect();
    assert!(stocks == (1..=2_403).collect::<Vec<_>>(), "{} books", stocks.len());
    for book in all.iter().step_by(400) {
        let got = books(&server)
            .get_book(GetBookRequest { id: book.id.clone(), ..Default::default() })
            .await;
        assert_eq!(*book, done(got));
    }
    let filter = format!("category_id = {SCIENCE} AND stock > 1000");
    let request = ExportBooksRequest { filter, order_by: "stock desc".into(), ..by_stock() };
    let some = export(&server, request).await;
    let stocks: Vec<i32> = some.iter().map(|book| book.stock).collect();
    assert!(
        stocks == (1_001..=2_403).rev().filter(|n| n % 2 == 0).collect::<Vec<_>>(),
        "{} books",
        stocks.len()
    );
}

async fn export_resumed_by_token_continues_after_the_last_book(engine: Engine) {
    let server = TestServer::start(engine).await;
    stocked(&server, 3).await;
    let mut seen = Vec::new();
    let mut request = by_stock();
    for _ in 0..2 {
        let stream = client(&server).export_books(request.clone()).await;
        let answer = stream.expect("an export").into_inner().message().await;
        let answer = answer.expect("books").expect("a message");
        seen.extend(answer.books);
        request.page_token = answer.next_page_token;
    }
    // An export is not one snapshot: a book deleted meanwhile is missing.
    let gone = DeleteBookRequest { id: id(2_403), ..Default::default() };
    done(books(&server).delete_book(gone).await);
    let rest = export(&server, request.clone()).await;
    seen.extend(rest);
    let stocks: Vec<i32> = seen.iter().map(|book| book.stock).collect();
    assert!(stocks == (1..=2_402).collect::<Vec<_>>(), "{} books", stocks.len());

    for other in [
        ExportBooksRequest { filter: "stock > 1".into(), ..request.clone() },
        ExportBooksRequest { order_by: "title".into(), ..request.clone() },
    ] {
        let mut stream = client(&server).export_books(other).await.expect("a stream").into_inner();
        super::refusal(stream.message().await).is_invalid(&["page_token"]);
    }
    // A list's token isn't valid for an export.
    let list = ListBooksRequest { page_size: 1, order_by: "stock".into(), ..Default::default() };
    let page_token = done(books(&server).list_books(list).await).next_page_token;
    let other = ExportBooksRequest { page_token, ..request };
    let mut stream = client(&server).export_books(other).await.expect("a stream").into_inner();
    super::refusal(stream.message().await).is_invalid(&["page_token"]);
}

/// The service has one connection, and a reader that has stopped reading must not hold it.
async fn export_to_a_slow_reader_holds_no_connection(engine: Engine) {
    let server = TestServer::builder(engine)
        .env("DATABASE_POOL_SIZE", "1")
        .env("DATABASE_MAX_OVERFLOW", "0")
        .env("DATABASE_POOL_TIMEOUT", "2s")
        .start()
        .await;
    stocked(&server, 3_000).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        // On its own connection the full window blocks only this call. The window takes two
        // messages, one more waits in the service, and the last is not read from the database yet.
        let mut reader = super::BookTransferServiceClient::new(raw(server.address()).await);
        let mut stream = reader.export_books(by_stock()).await.expect("an export").into_inner();
        let first = stream.message().await.expect("books").expect("a message");
        assert_eq!(first.books.len(), 500);
        readers.push((reader, stream, first.books));
    }
    for number in 1..=3 {
        done(
            books(&server).get_book(GetBookRequest { id: id(number), ..Default::default() }).await,
        );
        let stock = json!({"book": {"id": id(2_403), "stock": 2_403 + number}});
        done(books(&server).update_book(message::<UpdateBookRequest>(stock)).await);
    }
    for (_, mut stream, mut seen) in readers {
        while let Some(answer) = stream.message().await.expect("books") {
            seen.extend(answer.books);
        }
        let stocks: Vec<i32> = seen.iter().map(|book| book.stock).collect();
        let wanted: Vec<i32> = (1..=2_402).chain([2_406]).collect();
        assert!(stocks == wanted, "later messages have later rows: {:?}", stocks.last());
    }
}

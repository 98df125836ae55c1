//! Very many books in and out. The service's memory stays bounded however slowly they are read. The
//! cost is reported beside single calls and COPY.

use std::{
    io::{Read, Seek, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, ExportBooksRequest, ImportBooksBatch, ImportBooksEnd,
    ImportBooksOptions, ImportBooksRequest, ImportBooksRow, Money,
    book_service_client::BookServiceClient,
    book_transfer_service_client::BookTransferServiceClient, import_books_request::Step,
    import_books_response::Step as Answer,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use prost_reflect::prost_types::{Struct, Value, value::Kind};
use sqlx::postgres::PgConnection;
use tokio::time::sleep;

use crate::{Database, Engine, Origin, PostgresDatabase, TestServer, raw};

/// Rows of a batch.
const BATCH: u32 = 500;

/// The most that the service's memory may grow over its idle size, in bytes. The second bound is
/// for a number of books so small that they could all be in memory unnoticed.
const RISE: u64 = 64 << 20;
const SMALL_RISE: u64 = 32 << 20;
const FEW: u32 = 100_000;

/// How often the slow reader pauses, and for how long: long enough to fill every window on the way.
const PAUSES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(400);

/// Imports and exports `books` generated books on each engine.
pub(super) async fn bulk(books: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = Arc::new(Database::create(engine, Origin::Migrated).await);
        let server = TestServer::builder(engine).on(Arc::clone(&database));
        let server = server.env("LOG_LEVEL", "warn").start().await;
        eprintln!("{engine:?}, {books} books:");
        singles(&server, (books / 100).max(200)).await;
        let idle = server.peak_memory();
        import(&server, books).await;
        assert_memory(&server, idle, books, "imported");
        export(&server, books, 0).await;
        export(&server, books, PAUSES).await;
        assert_memory(&server, idle, books, "exported to a slow reader");
        if let Database::Postgres(database) = &*database {
            copy(database, books).await;
        }
    }
}

fn rate(what: &str, rows: u32, took: Duration) {
    let rows_a_second = f64::from(rows) / took.as_secs_f64();
    eprintln!("  {what:<28} {rows_a_second:>9.0} rows a second ({took:.1?} for {rows})");
}

/// Asserts the bound of the service's memory.
fn assert_memory(server: &TestServer, idle: Option<u64>, books: u32, what: &str) {
    // Only Linux reports it.
    let Some((idle, peak)) = idle.zip(server.peak_memory()) else { return };
    let rise = peak - idle;
    eprintln!("  {what}: {} MB over {} MB idle", rise >> 20, idle >> 20);
    let most = if books < FEW { SMALL_RISE } else { RISE };
    assert!(rise <= most, "{what}: the service's memory rose by {rise} bytes");
}

/// Creates books one by one.
async fn singles(server: &TestServer, books: u32) {
    let mut client = BookServiceClient::new(server.channel());
    let began = Instant::now();
    for number in 0..books {
        let request = CreateBookRequest { book: Some(book(number)), id: id(7, number) };
        client.create_book(request).await.expect("a new book");
    }
    rate("created one by one", books, began.elapsed());
    server.sql("DELETE FROM books").await;
}

/// Imports books in one stream. It reads the answers as they arrive.
async fn import(server: &TestServer, books: u32) {
    let batches = books.div_ceil(BATCH);
    let batch = move |number: u32| {
        let numbers = number * BATCH..books.min((number + 1) * BATCH);
        let row = |number| ImportBooksRow {
            line: i64::from(number),
            book: Some(book(number)),
            id: id(0, number),
        };
        let rows = numbers.map(row).collect();
        Step::Batch(ImportBooksBatch { number: i64::from(number) + 1, rows })
    };
    let options = ImportBooksOptions { import_id: id(9, 0), ..Default::default() };
    let end = ImportBooksEnd { batches: i64::from(batches), rows: i64::from(books) };
    let steps = stream::iter([Step::Options(options)])
        .chain(stream::iter((0..batches).map(batch)))
        .chain(stream::iter([Step::End(end)]))
        .map(|step| ImportBooksRequest { step: Some(step) });
    let began = Instant::now();
    let mut client = BookTransferServiceClient::new(server.channel());
    let mut answers = client.import_books(steps).await.expect("an import").into_inner();
    let mut summary = None;
    while let Some(answer) = answers.message().await.expect("every batch is taken") {
        if let Some(Answer::Summary(received)) = answer.step {
            summary = Some(received);
        }
    }
    let summary = summary.expect("a summary");
    assert_eq!((summary.inserted, summary.rejected), (i64::from(books), 0));
    rate("imported", books, began.elapsed());
}

/// Exports all books, with some pauses on the way, and asserts that each arrives once.
async fn export(server: &TestServer, books: u32, pauses: u32) {
    let began = Instant::now();
    let mut client = BookTransferServiceClient::new(raw(server.address()).await);
    let all = ExportBooksRequest::default();
    let mut answers = client.export_books(all).await.expect("an export").into_inner();
    let mut seen = vec![false; books as usize];
    let (mut count, mut next_pause) = (0, 0);
    while let Some(answer) = answers.message().await.expect("books") {
        for book in answer.books {
            let number =
                book.id.rsplit('-').next().and_then(|it| usize::from_str_radix(it, 16).ok());
            let number = number.expect("an id of an imported book");
            assert!(!std::mem::replace(&mut seen[number], true), "book {number} came twice");
            count += 1;
        }
        if pauses > 0 && count >= next_pause {
            next_pause += books / pauses;
            sleep(PAUSE).await;
        }
    }
    assert_eq!(count, books);
    rate(if pauses == 0 { "exported" } else { "exported with pauses" }, books, began.elapsed());
}

/// The rate of PostgreSQL's COPY with the same rows.
async fn copy(database: &PostgresDatabase, books: u32) {
    let mut session = database.connect().await;
    let mut rows = tempfile::tempfile().expect("a temporary file");
    let began = Instant::now();
    let mut out = session.copy_out_raw("COPY books TO STDOUT").await.expect("rows to copy");
    while let Some(bytes) = out.try_next().await.expect("rows") {
        rows.write_all(&bytes).expect("room for the rows");
    }
    drop(out);
    rate("COPY TO", books, began.elapsed());
    execute(&mut session, "TRUNCATE books CASCADE").await;
    rows.rewind().expect("a file to read again");
    let began = Instant::now();
    let mut copy = session.copy_in_raw("COPY books FROM STDIN").await.expect("a table to fill");
    let mut bytes = vec![0; 1 << 20];
    while let Ok(size @ 1..) = rows.read(&mut bytes) {
        copy.send(&bytes[..size]).await.expect("rows of the table");
    }
    copy.finish().await.expect("the rows are taken");
    rate("COPY FROM", books, began.elapsed());
}

async fn execute(session: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(session).await.expect("a statement of the trial");
}

/// A unique id.
pub(super) fn id(kind: u32, number: u32) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

/// Book number n: typical texts, in several scripts.
pub(super) fn book(number: u32) -> Book {
    const AUTHORS: [&str; 6] = [
        "Gabriel García Márquez",
        "Лев Толстой",
        "村上 春樹",
        "Ursula K. Le Guin",
        "محمود درويش",
        "Ada \"Brontë\", Jr.",
    ];
    let of = |length: usize| number as usize % length;
    let author = AUTHORS[of(AUTHORS.len())];
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let pages = Value { kind: Some(Kind::NumberValue(f64::from(100 + number % 900))) };
    let attributes = [("language".to_owned(), text("eng")), ("pages".to_owned(), pages)];
    let categories = [None, Some("1"), Some("3")];
    let category = categories[of(3)].map(|it| format!("01930000-0000-7000-8000-00000000000{it}"));
    Book {
        title: format!("The book that has the number {number}"),
        author: author.to_owned(),
        description: number.is_multiple_of(2).then(|| format!("{author}. ").repeat(10)),
        price: Some(Money {
            currency_code: "EUR".into(),
            units: i64::from(number % 90),
            nanos: 990_000_000,
        }),
        stock: i32::try_from(number % 1_000).unwrap_or_default(),
        category_id: category,
        cover_image: Some(format!("https://covers.example/{number}.jpg")),
        attributes: Some(Struct { fields: attributes.into() }),
        ..Default::default()
    }
}

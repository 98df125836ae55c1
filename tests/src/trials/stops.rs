//! SIGTERM under load: started calls are answered, late ones are refused, and the service ends in
//! time even with callers that never finish.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, ExportBooksRequest, Money, UpdateBookRequest,
    book_service_client::BookServiceClient,
    book_transfer_service_client::BookTransferServiceClient,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{Database, Engine, SOON, Signal, TestServer, raw, until};

/// Concurrent callers, each on its own connection.
const CALLERS: u32 = 16;

/// The pause and the timeout of the drain.
const PAUSE: Duration = Duration::from_millis(200);
const DRAIN: Duration = Duration::from_millis(1_500);

/// The time that the end may take beyond those.
const SLACK: Duration = Duration::from_secs(4);

/// Books with longer texts, so that an export doesn't end by itself.
const BOOKS: u32 = 400;

/// Stops a service `scale` times.
pub(super) async fn stops(scale: u32) {
    let (mut acknowledged, mut refused, mut longest) = (0, 0, Duration::ZERO);
    for round in 0..scale {
        let (answered, sent_away, took) = stop().await;
        acknowledged += answered;
        refused += sent_away;
        longest = longest.max(took);
        eprintln!("stop {}: {answered} answered, {sent_away} refused, {took:?}", round + 1);
    }
    eprintln!("{acknowledged} calls answered and kept, {refused} refused and not carried out");
    eprintln!("the longest stop took {longest:?}");
}

fn id(number: u32) -> String {
    format!("0195a000-0000-4000-8000-{number:012}")
}

fn create(number: u32, description: String) -> CreateBookRequest {
    CreateBookRequest {
        id: id(number),
        book: Some(Book {
            title: format!("Book {number}"),
            author: "Author".to_owned(),
            description: Some(description),
            price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
            ..Default::default()
        }),
    }
}

/// The number of answered and of refused calls, and the duration of the end.
async fn stop() -> (usize, usize, Duration) {
    let mut server = TestServer::builder(Engine::Postgres)
        .env("LOG_LEVEL", "warn")
        .env("SHUTDOWN_PAUSE", &format!("{}ms", PAUSE.as_millis()))
        .env("SHUTDOWN_TIMEOUT", &format!("{}ms", DRAIN.as_millis()))
        .start()
        .await;
    let (address, database) = (server.address(), server.database());
    let mut books = BookServiceClient::new(server.channel());
    for number in 0..BOOKS {
        books.create_book(create(number, "x".repeat(10_000))).await.expect("a book");
    }

    // Callers that never finish: a watch, a silent peer, half a preface, a stuck call, an export.
    let request = HealthCheckRequest { service: String::new() };
    let watch = HealthClient::new(raw(address).await).watch(request).await.expect("a watch");
    let watch = tokio::spawn(async move {
        let mut states = watch.into_inner();
        while states.message().await.expect("a watch that ends well").is_some() {}
    });
    let _silent = TcpStream::connect(address).await.expect("a connection");
    let mut half = TcpStream::connect(address).await.expect("a connection");
    half.write_all(b"PRI * HT").await.expect("half a preface");
    let Database::Postgres(postgres) = &*database else { unreachable!("PostgreSQL was asked for") };
    let mut holder = postgres.connect().await;
    let lock = "BEGIN; SELECT id FROM books ORDER BY id LIMIT 1 FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock on the first book");
    let mut stuck = BookServiceClient::new(raw(address).await);
    let first = Some(Book { id: id(0), stock: 7, ..Default::default() });
    let update = UpdateBookRequest { book: first, ..Default::default() };
    let stuck = tokio::spawn(async move { stuck.update_book(update).await });
    until("the update waits for the lock", SOON, async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                       AND datname = current_database()";
        database.value(waiting).await == "1"
    })
    .await;
    let mut exports = BookTransferServiceClient::new(raw(address).await);
    let export = exports.export_books(ExportBooksRequest::default()).await.expect("an export");
    let mut export = export.into_inner();
    export.message().await.expect("a first message").expect("books");

    // Callers that work until they are refused.
    let next = Arc::new(AtomicU32::new(BOOKS));
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(work(address, Arc::clone(&next)))).collect();
    until("the callers make calls", SOON, async || next.load(Ordering::Relaxed) > BOOKS + 50).await;
    server.signal(Signal::TERM);
    let export = tokio::spawn(async move { while let Ok(Some(_)) = export.message().await {} });
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(1), "the exit code reports the cut call");
    assert!(ended.took.at_most(PAUSE + DRAIN + SLACK), "it took {:?}", ended.took);
    assert!(ended.took.at_least(PAUSE), "it took only {:?}", ended.took);
    watch.await.expect("a watch that ends well");
    export.await.expect("no panic");
    stuck.await.expect("no panic").expect_err("a call beyond the cap");

    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for caller in callers {
        let (answered, last) = caller.await.expect("no panic");
        acknowledged.extend(answered);
        refused.push(last);
    }
    for (list, there) in [(&acknowledged, true), (&refused, false)] {
        for book in list {
            let sql = format!("SELECT count(*) FROM books WHERE id = '{book}'");
            let found = database.value(&sql).await != "0";
            assert_eq!(found, there, "{book}: an answered call is applied, a refused one isn't");
        }
    }
    assert_eq!(database.value("SELECT max(stock) FROM books").await, "0", "the stuck call");
    (acknowledged.len(), refused.len(), ended.took.elapsed())
}

/// Creates books until a call is refused: returns the answered ones, and the refused one.
async fn work(address: SocketAddr, next: Arc<AtomicU32>) -> (Vec<String>, String) {
    let mut books = BookServiceClient::new(raw(address).await);
    let mut answered = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        match books.create_book(create(number, String::new())).await {
            Ok(_) => answered.push(id(number)),
            Err(_) => return (answered, id(number)),
        }
    }
}

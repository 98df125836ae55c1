//! Calls past their deadline also end in the database, and cost the service no connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, UpdateBookRequest,
    book_service_client::BookServiceClient,
};
use sqlx::Connection;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::readers::{ADMIN, LOG, Shared};
use crate::{Database, Engine, Raw, TestServer, raw, until_within};

/// The service's connections.
const POOL: u32 = 10;

/// Concurrent callers, each on its own connection.
const CALLERS: u32 = 40;

/// The deadline of each call.
const DEADLINE: Duration = Duration::from_millis(50);

/// The limit from the last answer until no statement runs any more.
const SETTLED: Duration = Duration::from_millis(200);

/// The one book.
const ID: &str = "0195a000-0000-4000-8000-000000000001";

/// Makes `scale` calls against a locked table, and half as many once it is free again.
pub(super) async fn deadlines(scale: u32) {
    let server = TestServer::builder(Engine::Postgres)
        .env("DATABASE_POOL_SIZE", &POOL.to_string())
        .env("DATABASE_MAX_OVERFLOW", "0")
        .env(LOG.0, LOG.1)
        .env(ADMIN.0, ADMIN.1)
        .start()
        .await;
    let database = server.database();
    create(&server).await;

    let Database::Postgres(postgres) = &*database else { unreachable!("PostgreSQL was asked for") };
    let mut holder = postgres.connect().await;
    let lock = "BEGIN; LOCK TABLE books IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock on the table");
    let done = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(watch(Arc::clone(&database), Arc::clone(&done)));
    let began = Instant::now();
    let late = calls(&server, scale, Some(DEADLINE)).await;
    let took = began.elapsed();
    for status in &late {
        let status = status.as_ref().expect_err("a locked table");
        let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
        assert_eq!(
            (status.code(), reason.as_deref()),
            (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED")),
            "{status:?}"
        );
    }
    // The table is still locked, so the statements ended by their cancellation.
    until_within("nothing runs any more", SETTLED, async || busy(&database).await == 0).await;
    done.store(true, Ordering::Relaxed);
    let most = watch.await.expect("the watcher");
    assert!(most <= POOL + 1, "{most} sessions, including the supervisor's");

    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("the lock is released");
    holder.close().await.expect("a session that ends");
    let served = calls(&server, scale / 2, None).await;
    let failed: Vec<&Status> = served.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} calls failed: {:?}", failed.len(), failed.first());
    Shared::count(&server).await.report("deadlines");
    eprintln!(
        "{} calls ended by their deadlines in {took:?}, {most} sessions at most; \
         {} calls served afterwards",
        late.len(),
        served.len()
    );
}

async fn create(server: &TestServer) {
    let price = Some(Money { currency_code: "USD".into(), units: 5, nanos: 0 });
    let (title, author) = ("Dune".into(), "Frank Herbert".into());
    let book = Some(Book { title, author, price, ..Default::default() });
    let request = CreateBookRequest { book, id: ID.into() };
    let mut books = BookServiceClient::new(server.channel());
    books.create_book(request).await.expect("a book");
}

/// Calls from several concurrent callers, every third of them a write.
async fn calls(
    server: &TestServer,
    count: u32,
    timeout: Option<Duration>,
) -> Vec<Result<(), Status>> {
    let next = Arc::new(AtomicU32::new(0));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (connection, next) = (raw(server.address()).await, Arc::clone(&next));
        callers.push(tokio::spawn(async move {
            let mut books = BookServiceClient::new(connection);
            let mut answers = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return answers;
                }
                answers.push(call(&mut books, number, timeout).await);
            }
        }));
    }
    let mut answers = Vec::new();
    for caller in callers {
        answers.extend(caller.await.expect("no panic of a caller"));
    }
    answers
}

async fn call(
    books: &mut BookServiceClient<Raw>,
    number: u32,
    timeout: Option<Duration>,
) -> Result<(), Status> {
    fn with<T>(message: T, timeout: Option<Duration>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        request
    }
    if number.is_multiple_of(3) {
        let book = Book { id: ID.into(), title: format!("Dune {number}"), ..Default::default() };
        let request = UpdateBookRequest { book: Some(book), ..Default::default() };
        books.update_book(with(request, timeout)).await.map(drop)
    } else {
        books
            .get_book(with(GetBookRequest { id: ID.into(), ..Default::default() }, timeout))
            .await
            .map(drop)
    }
}

/// The most concurrent sessions of the service that were seen.
async fn watch(database: Arc<Database>, done: Arc<AtomicBool>) -> u32 {
    let mut most = 0;
    while !done.load(Ordering::Relaxed) {
        most = most.max(sessions(&database, "true").await);
    }
    most
}

/// The number of the service's sessions that run a statement or have an open transaction.
async fn busy(database: &Database) -> u32 {
    sessions(database, "state <> 'idle'").await
}

async fn sessions(database: &Database, condition: &str) -> u32 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'bookstore' AND {condition}"
    );
    database.value(&sql).await.parse().expect("a count")
}

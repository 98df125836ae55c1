//! Calls at a lock or a busy pool: each ends in time and leaves nothing.

use std::{collections::HashSet, time::Duration};

use bookstore_proto::v1::{
    GetBookRequest, GetCategoryRequest, ListBooksRequest, book_service_client::BookServiceClient,
};
use bookstore_tests::{Builder, Engine, Stopwatch, TestServer, raw, until};
use tonic::{Code, Request};
use tonic_health::pb::health_check_response::ServingStatus;

use super::{
    Held, SOON, Watch, health, is_idle, refusal, restock, sessions, stock, waits_for_lock,
    with_a_book,
};
use crate::client;

/// A service with a single connection, which one call can occupy.
fn with_one_connection() -> Builder {
    TestServer::builder(Engine::Postgres)
        .env("DATABASE_POOL_SIZE", "1")
        .env("DATABASE_MAX_OVERFLOW", "0")
        // The service's own limit is below the waits of the cases and must not end anything first.
        .env("DATABASE_COMMAND_TIMEOUT", "10m")
}

/// The connection has no client-side deadline, so the error is the service's.
#[tokio::test]
async fn deadline_ends_a_call_waiting_for_a_lock() {
    let server = with_one_connection().start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let mut books = BookServiceClient::new(raw(server.address()).await);
    let limit = Duration::from_millis(200);

    let held = Held::table(&database).await;
    let mut read = Request::new(GetBookRequest { id: id.clone(), ..Default::default() });
    read.set_timeout(limit);
    let mut write = Request::new(restock(&id, 5));
    write.set_timeout(limit);
    let watch = Stopwatch::start();
    let write = books.update_book(write).await.expect_err("a locked table");
    let write_took = watch.stop();
    // The database ends the waiting statement a little later.
    is_idle(&database).await;
    let watch = Stopwatch::start();
    let read = books.get_book(read).await.expect_err("a locked table");
    let read_took = watch.stop();
    for (status, took) in [(write, write_took), (read, read_took)] {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(refusal(&status).0, "DEADLINE_EXCEEDED");
        assert!(status.metadata().contains_key("request-id"));
        assert!(took.at_least(limit) && took.at_most(limit * 10), "after {took:?}");
    }
    held.release().await;

    is_idle(&database).await;
    assert_eq!(stock(&database).await, "0", "the write of an ended call is rolled back");
    books.update_book(restock(&id, 6)).await.expect("the only connection");
    assert_eq!(stock(&database).await, "6");
}

#[tokio::test]
async fn call_with_a_passed_deadline_is_not_started() {
    let server = with_one_connection().start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let mut books = BookServiceClient::new(raw(server.address()).await);
    for timeout in ["0m", "1n"] {
        let mut write = Request::new(restock(&id, 5));
        write.metadata_mut().insert("grpc-timeout", timeout.parse().expect("ASCII"));
        let status = books.update_book(write).await.expect_err("a passed deadline");
        assert_eq!(refusal(&status).0, "DEADLINE_EXCEEDED");
    }
    is_idle(&database).await;
    assert_eq!(stock(&database).await, "0");
}

/// Without a deadline the service's own limits apply.
#[tokio::test]
async fn call_without_deadline_at_a_held_lock_fails_at_the_service_limit() {
    let server = with_one_connection().env("DATABASE_COMMAND_TIMEOUT", "1s").start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let mut books = client::books(&server);
    let held = Held::books(&database).await;
    let status = books.update_book(restock(&id, 5)).await.expect_err("a locked row");
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    assert_eq!(refusal(&status), ("LOCK_TIMEOUT".to_owned(), true));
    held.release().await;
    is_idle(&database).await;
    assert_eq!(stock(&database).await, "0");
    books.update_book(restock(&id, 6)).await.expect("a free row");

    let held = Held::table(&database).await;
    let status = books.get_book(GetBookRequest { id: id.clone(), ..Default::default() }).await;
    let status = status.expect_err("a locked table");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(refusal(&status).0, "STATEMENT_TIMEOUT");
    held.release().await;
    books.get_book(GetBookRequest { id, ..Default::default() }).await.expect("a free table");
}

#[tokio::test]
async fn busy_pool_refuses_calls_within_the_pool_timeout() {
    let server = with_one_connection().env("DATABASE_POOL_TIMEOUT", "1s").start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let held = Held::books(&database).await;
    let (mut books, request) = (client::books(&server), restock(&id, 5));
    let first = tokio::spawn(async move { books.update_book(request).await });
    waits_for_lock(&database).await;
    let mut books = client::books(&server);
    for write in [false, true] {
        let watch = Stopwatch::start();
        let status = match write {
            true => books.update_book(restock(&id, 6)).await.expect_err("a busy pool"),
            false => {
                let get = GetBookRequest { id: id.clone(), ..Default::default() };
                books.get_book(get).await.expect_err("a busy pool")
            }
        };
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(refusal(&status), ("POOL_TIMEOUT".to_owned(), true));
        let took = watch.stop();
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(4));
        assert!(took.at_least(least) && took.at_most(most), "{took:?}");
    }
    held.release().await;
    first.await.expect("no panic").expect("the call that had the connection");
    books.update_book(restock(&id, 7)).await.expect("a free pool");
}

/// A busy pool is not a lost database, so the service stays ready.
#[tokio::test]
async fn busy_pool_leaves_the_service_ready() {
    let server = with_one_connection().start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let held = Held::books(&database).await;
    let (mut books, request) = (client::books(&server), restock(&id, 5));
    let call = tokio::spawn(async move { books.update_book(request).await });
    waits_for_lock(&database).await;
    let mut ready = Watch::of(server.channel(), "ready").await;
    ready.sees(ServingStatus::Serving, SOON).await;
    let mut asked = HashSet::new();
    // More probes than the service needs to notice a lost database.
    until("the service asks for the schema", SOON, async || {
        let sql = "SELECT query_start::text FROM pg_stat_activity WHERE datname = \
                   current_database() AND application_name = 'bookstore' AND wait_event_type \
                   IS DISTINCT FROM 'Lock'";
        asked.extend(database.sql(sql).await);
        asked.len() > 4
    })
    .await;
    assert_eq!(health(server.channel(), "ready").await, ServingStatus::Serving);
    held.release().await;
    call.await.expect("no panic").expect("the call that had the connection");
}

/// A cancelled read is cancelled in the database, and its connection is used again.
#[tokio::test]
async fn cancelled_read_ends_in_the_database() {
    let server = with_one_connection().env("DATABASE_POOL_TIMEOUT", "5s").start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let mut books = client::books(&server);
    books.get_book(GetBookRequest { id: id.clone(), ..Default::default() }).await.expect("a book");
    let held = Held::table(&database).await;
    let call = tokio::spawn(async move { books.list_books(ListBooksRequest::default()).await });
    waits_for_lock(&database).await;
    let waits = "wait_event_type = 'Lock'";
    let pid = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'bookstore' AND {waits}"
    );
    let pid = database.value(&pid).await;
    call.abort();
    server.logs().wait_for(|line| line.contains("\"CANCELLED\"")).await;

    // Categories aren't locked, and the lock on the books is still held.
    let mut categories = client::categories(&server);
    let category = GetCategoryRequest { id: client::FICTION.to_owned() };
    categories.get_category(category).await.expect("a connection");
    assert_eq!(sessions(&database, waits).await, "0", "the read still waits");
    let same = sessions(&database, &format!("pid = {pid}")).await;
    assert_eq!(same, "1", "the connection was closed");
    held.release().await;
}

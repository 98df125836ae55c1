//! PostgreSQL unreachable: the errors of calls and probes, and the recovery.

use std::{sync::Arc, time::Duration};

use bookstore_proto::v1::{GetBookRequest, book_service_client::BookServiceClient};
use bookstore_tests::{
    Builder, Database, Engine, Line, Origin, Replicated, Stopwatch, TestServer, raw, until,
    until_within,
};
use futures_util::FutureExt;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{Held, SOON, Watch, health, refusal, restock, stock, waits_for_lock, with_a_book};
use crate::client;

/// A service behind a proxy that can be cut.
async fn behind_a_line() -> (Arc<Database>, Line, Builder) {
    let database = Arc::new(Database::create(Engine::Postgres, Origin::Migrated).await);
    let line = Line::to(&database).await;
    let server = TestServer::builder(Engine::Postgres).on(Arc::clone(&database));
    let server = server.env("DATABASE_URL", line.url());
    (database, line, server)
}

#[tokio::test]
async fn cut_connection_returns_unavailable_until_restored() {
    let (_database, line, server) = behind_a_line().await;
    let server = server.start().await;
    let id = with_a_book(&server).await;
    let (mut books, mut ready) =
        (client::books(&server), Watch::of(server.channel(), "ready").await);
    let get = || GetBookRequest { id: id.clone(), ..Default::default() };
    for _ in 0..2 {
        line.cut();
        for _ in 0..3 {
            let read = books.get_book(get()).await.expect_err("no database");
            let write = books.update_book(restock(&id, 3)).await.expect_err("no database");
            for status in [read, write] {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                assert_eq!(refusal(&status), ("DATABASE_UNAVAILABLE".to_owned(), true));
            }
        }
        ready.sees(ServingStatus::NotServing, SOON).await;
        assert_eq!(health(server.channel(), "live").await, ServingStatus::Serving);
        line.restore();
        ready.sees(ServingStatus::Serving, SOON).await;
        books.get_book(get()).await.expect("a read as before");
        books.update_book(restock(&id, 4)).await.expect("a write as before");
    }
}

/// The database crashes as in a power loss and starts again. The service continues without a
/// restart.
#[tokio::test]
async fn restarted_database_is_reconnected_in_time() {
    /// The limit until calls are answered once the database accepts connections.
    const BACK: Duration = Duration::from_secs(2);
    let mut database = Replicated::start(0).await;
    let url = database.url("bookstore_app", 0);
    let server = TestServer::builder(Engine::Postgres).url(&url).start().await;
    let id = with_a_book(&server).await;
    let (mut books, mut ready) =
        (client::books(&server), Watch::of(server.channel(), "ready").await);
    let mut live = Watch::of(server.channel(), "live").await;
    live.sees(ServingStatus::Serving, SOON).await;
    let get = || GetBookRequest { id: id.clone(), ..Default::default() };
    for stock in 1..3 {
        books.update_book(restock(&id, stock)).await.expect("a write before");
        database.kill(0).await;
        let read = books.get_book(get()).await.expect_err("no database");
        let write = books.update_book(restock(&id, 7)).await.expect_err("no database");
        for status in [read, write] {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
        ready.sees(ServingStatus::NotServing, SOON).await;
        database.restart(0).await;
        until_within("reads are answered", BACK, async || books.get_book(get()).await.is_ok())
            .await;
        let found = books.get_book(get()).await.expect("a read as before").into_inner();
        assert_eq!(found.stock, stock, "exactly the acknowledged writes are there");
        books.update_book(restock(&id, 9)).await.expect("a write as before");
        ready.sees(ServingStatus::Serving, SOON).await;
    }
    assert!(live.0.message().now_or_never().is_none(), "`live` has changed");
    assert_eq!(health(server.channel(), "live").await, ServingStatus::Serving);
}

/// Nothing is closed and nothing answers, so only timeouts notice.
#[tokio::test]
async fn frozen_connection_returns_unavailable_until_restored() {
    let (_database, line, server) = behind_a_line().await;
    let server = server.env("DATABASE_COMMAND_TIMEOUT", "1s").start().await;
    let id = with_a_book(&server).await;
    let mut ready = Watch::of(server.channel(), "ready").await;
    line.freeze();
    ready.sees(ServingStatus::NotServing, SOON).await;
    assert_eq!(health(server.channel(), "live").await, ServingStatus::Serving);
    let mut books = BookServiceClient::new(raw(server.address()).await);
    let mut request = tonic::Request::new(GetBookRequest { id: id.clone(), ..Default::default() });
    request.set_timeout(Duration::from_millis(300));
    let status = books.get_book(request).await.expect_err("no database");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    line.restore();
    ready.sees(ServingStatus::Serving, SOON).await;
    until("calls are answered as before", SOON, async || {
        books.get_book(GetBookRequest { id: id.clone(), ..Default::default() }).await.is_ok()
    })
    .await;
}

/// A call without a deadline gets an error too, and leaves nothing behind. A read ends by
/// `database_read_timeout`, whatever the database does. A write waits for a late answer.
#[tokio::test]
async fn frozen_connection_ends_calls_without_a_deadline() {
    // Longer than the statement timeout, shorter than the wait for a late answer.
    const READ: Duration = Duration::from_secs(3);
    // A second for the statement, five for the database's own cancellation, and two for everything
    // else.
    const LIMIT: Duration = Duration::from_secs(8);
    let (_database, line, server) = behind_a_line().await;
    let server = server.env("DATABASE_COMMAND_TIMEOUT", "1s").env("DATABASE_READ_TIMEOUT", "3s");
    let server = server.start().await;
    let id = with_a_book(&server).await;
    let get = || GetBookRequest { id: id.clone(), ..Default::default() };
    let (mut reader, mut writer) = (client::books(&server), client::books(&server));
    // Both have a connection that is silent from now on.
    reader.get_book(get()).await.expect("a read before");
    writer.update_book(restock(&id, 3)).await.expect("a write before");
    line.freeze();
    let (read, write) = (Stopwatch::start(), Stopwatch::start());
    let ended = tokio::join!(
        async { (reader.get_book(get()).await.expect_err("no database"), read.stop()) },
        async {
            (writer.update_book(restock(&id, 4)).await.expect_err("no database"), write.stop())
        },
    );
    let (status, took) = ended.0;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(refusal(&status).0, "STATEMENT_TIMEOUT");
    assert!(took.at_least(READ) && took.at_most(LIMIT), "after {took:?}");
    let (status, took) = ended.1;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(refusal(&status), ("DATABASE_UNAVAILABLE".to_owned(), true));
    assert!(took.at_least(Duration::from_secs(1)) && took.at_most(LIMIT), "after {took:?}");
    line.restore();
    reader.get_book(get()).await.expect("a read as before");
    writer.update_book(restock(&id, 5)).await.expect("a write as before");
}

/// A write whose connection breaks before COMMIT is not applied, and its error says so.
#[tokio::test]
async fn write_cut_off_before_commit_is_not_applied() {
    let (database, line, server) = behind_a_line().await;
    let server = server.start().await;
    let id = with_a_book(&server).await;
    let held = Held::books(&database).await;
    let (mut books, request) = (client::books(&server), restock(&id, 5));
    let call = tokio::spawn(async move { books.update_book(request).await });
    waits_for_lock(&database).await;
    line.cut();
    let status = call.await.expect("no panic").expect_err("no database");
    assert_eq!(refusal(&status), ("DATABASE_UNAVAILABLE".to_owned(), true));
    held.release().await;
    super::is_idle(&database).await;
    assert_eq!(stock(&database).await, "0");
}

/// COMMIT arrives and its answer doesn't: the outcome is unknown, and the error says so.
#[tokio::test]
async fn lost_commit_answer_returns_commit_outcome_unknown() {
    let (database, line, server) = behind_a_line().await;
    let server = server.start().await;
    let id = with_a_book(&server).await;
    // "READ COMMITTED" is in an earlier message.
    line.cut_at(b"COMMIT;");
    let status = client::books(&server).update_book(restock(&id, 5)).await;
    let status = status.expect_err("no answer to COMMIT");
    assert_eq!(status.code(), Code::Unknown, "{status:?}");
    assert_eq!(refusal(&status).0, "COMMIT_OUTCOME_UNKNOWN");
    until("the commit has happened", SOON, async || stock(&database).await == "5").await;
    line.restore();
    until("calls are answered as before", SOON, async || {
        client::books(&server).update_book(restock(&id, 6)).await.is_ok()
    })
    .await;
}

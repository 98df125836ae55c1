//! Writes of one statement, which commit by themselves where that is safe.

use std::time::Duration;

use bookstore_proto::v1::{Book, CreateBookRequest};
use bookstore_tests::{
    Database, Engine, Line, Origin, Replicated, SOON, Side, TestServer, on_every_engine, until,
};
use serde_json::json;
use sqlx::Connection;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{
    client,
    standard::{statements, statements_with},
};

on_every_engine!(
    single_write_needs_no_transaction,
    write_with_a_key_or_a_rollback_has_a_transaction,
);

const CREATE: &str = "BookService/CreateBook";

/// How often a case is tried that depends on a session which was used just now.
const TRIES: u32 = 200;

async fn create(server: &TestServer, title: &str) -> Result<Response<Book>, Status> {
    client::books(server).create_book(client::create("", client::a_book(title))).await
}

/// The same with a deadline.
async fn create_within(
    server: &TestServer,
    title: &str,
    limit: Duration,
) -> Result<Response<Book>, Status> {
    let mut request: Request<CreateBookRequest> =
        Request::new(client::create("", client::a_book(title)));
    request.set_timeout(limit);
    client::books(server).create_book(request).await
}

fn reason(status: &Status) -> (Code, String) {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    (status.code(), reason.unwrap_or_default())
}

fn begins(statements: &[String]) -> bool {
    statements.iter().any(|sql| sql.starts_with("BEGIN"))
}

async fn echoing(engine: Engine) -> TestServer {
    TestServer::builder(engine).env("DATABASE_ECHO", "true").start().await
}

/// One statement, and on PostgreSQL the question for the position.
async fn single_write_needs_no_transaction(engine: Engine) {
    let server = echoing(engine).await;
    let expected = match engine {
        Engine::Postgres => 2,
        Engine::Sqlite => 1,
    };
    until("a book is created by one statement", SOON, async || {
        // On PostgreSQL only a session that was used just now commits without BEGIN.
        create(&server, "before").await.expect("a book");
        let book = json!({"book": client::a_book("Dune")});
        let texts = statements(&server, CREATE, book).await;
        assert!(begins(&texts) || texts.len() == expected, "{texts:#?}");
        !begins(&texts)
    })
    .await;
    until("a book is deleted by one statement", SOON, async || {
        let id = create(&server, "before").await.expect("a book").into_inner().id;
        let texts = statements(
            &server,
            "ReviewService/DeleteReview",
            json!({
                "id": id, "allow_missing": true,
            }),
        )
        .await;
        !begins(&texts)
    })
    .await;
}

async fn write_with_a_key_or_a_rollback_has_a_transaction(engine: Engine) {
    let server = echoing(engine).await;
    for _ in 0..5 {
        create(&server, "before").await.expect("a book");
        let key = Uuid::new_v4().to_string();
        for metadata in [("idempotency-key", key.as_str()), ("validate-only", "true")] {
            let book = json!({"book": client::a_book("Dune")});
            let texts = statements_with(&server, CREATE, book, &[metadata]).await;
            assert!(begins(&texts), "{metadata:?}: {texts:#?}");
        }
    }
    let dunes = "SELECT count(*) FROM books WHERE title = 'Dune'";
    assert_eq!(server.database().value(dunes).await, "5", "validate-only writes nothing");
}

/// The connection ends between the statement and its answer: the write has happened, and no one
/// can know it. Before COMMIT of a transaction it is known that nothing has happened.
#[tokio::test]
async fn write_without_an_answer_is_unknown_and_not_repeated() {
    for side in [Side::Before, Side::Behind] {
        let database = Database::create(Engine::Postgres, Origin::Migrated).await;
        let line = Line::to(&database).await;
        let server = TestServer::builder(Engine::Postgres).url(line.url()).start().await;
        let mut unknown = None;
        let mut title = String::new();
        for attempt in 0..TRIES {
            create(&server, "before").await.expect("a book");
            title = format!("{side:?} {attempt}");
            // PostgreSQL's answer to the statement (55.7. Message Formats: CommandComplete).
            line.end_at_answer(b"INSERT 0 1\0", side);
            let created = create(&server, &title).await;
            line.restore();
            let sent = format!("SELECT count(*) FROM books WHERE title = '{title}'");
            assert_eq!(database.value(&sent).await, "1", "{created:?}");
            if let Err(status) = created {
                unknown = Some(status);
                break;
            }
        }
        let status = unknown.expect("a statement without BEGIN");
        assert_eq!(reason(&status).1, "COMMIT_OUTCOME_UNKNOWN", "{title}: {status:?}");
    }
}

/// The server ends a session that was used just now. It says so instead of answering, so the
/// statement was not carried out, and is sent to another session.
#[tokio::test]
async fn session_that_was_ended_costs_no_write() {
    let server = TestServer::start(Engine::Postgres).await;
    let database = server.database();
    for attempt in 0..20 {
        create(&server, "before").await.expect("a book");
        database.end_sessions().await;
        let title = format!("after {attempt}");
        create(&server, &title).await.expect("a book");
        let written = format!("SELECT count(*) FROM books WHERE title = '{title}'");
        assert_eq!(database.value(&written).await, "1");
    }
}

/// The statements of writes whose time is over are ended, whether commits wait for replicas or not.
#[tokio::test]
async fn write_past_its_deadline_is_ended() {
    let cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres).url(&cluster.url("bookstore_app", 0));
    let server = server.start().await;
    for names in ["", "*"] {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        cluster.execute(0, &set).await;
        cluster.execute(0, "SELECT pg_reload_conf()").await;
        let mut holder = cluster.connect(0).await;
        for attempt in 0..5 {
            let category = json!({"category": {"name": format!("{names}{attempt}")}});
            let lock = "BEGIN; LOCK TABLE books IN EXCLUSIVE MODE";
            sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
            // Its session is used just now, and knows whether commits wait.
            client::categories(&server)
                .create_category(client::message::<bookstore_proto::v1::CreateCategoryRequest>(
                    category,
                ))
                .await
                .expect("a category");
            let late = create_within(&server, "late", Duration::from_millis(300)).await;
            // CANCELLED if the client was the first to notice.
            let code = late.expect_err("a locked table").code();
            assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");
            // The table is still locked.
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            until("the statement has ended", Duration::from_secs(5), async || {
                cluster.value(0, waiting).await == "0"
            })
            .await;
            sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("the lock's end");
        }
        holder.close().await.expect("a session's end");
    }
    let late = "SELECT count(*) FROM books WHERE title = 'late'";
    assert_eq!(cluster.value(0, late).await, "0", "the writes did not happen");
}

/// Commits begin to wait for a replica after the service has learned that they don't. A write that
/// waits isn't cancelled when its time is over: others would see it without the replica.
#[tokio::test]
async fn write_that_waits_for_a_replica_is_not_seen() {
    let cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres).url(&cluster.url("bookstore_app", 0));
    let server = server.start().await;
    let set = async |names: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        cluster.execute(0, &set).await;
        cluster.execute(0, "SELECT pg_reload_conf()").await;
    };
    for attempt in 0..3 {
        let title = format!("waits {attempt}");
        for _ in 0..5 {
            create(&server, "before").await.expect("a book");
        }
        // Waits hold from the moment when a process of the server has read the setting.
        set("missing").await;
        let sets = "SELECT current_setting('synchronous_standby_names')";
        until("the setting holds", SOON, async || cluster.value(0, sets).await == "missing").await;
        let late = create_within(&server, &title, Duration::from_millis(300)).await;
        late.expect_err("a commit that waits");
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' \
                     AND now() - query_start > interval '1 second'";
        let seen = format!("SELECT count(*) FROM books WHERE title = '{title}'");
        until("the write waits beyond its deadline", SOON, async || {
            cluster.value(0, waits).await == "1" || cluster.value(0, &seen).await != "0"
        })
        .await;
        assert_eq!(cluster.value(0, &seen).await, "0", "it is seen without the replica");
        set("").await;
        until("the wait ends", SOON, async || cluster.value(0, &seen).await == "1").await;
    }
}

//! Health asks for what calls need: a connection, and room on the disk.

use bookstore_tests::{Engine, SOON, TestServer, until};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{becomes, health, titles};
use crate::client::{self, a_book, create, done, refused};

/// A service that gets no connection isn't ready, however well the server is.
#[tokio::test]
async fn service_without_a_connection_is_not_ready() {
    let server = TestServer::start(Engine::Postgres).await;
    let mut books = client::books(&server);
    done(books.create_book(create("", a_book("Before"))).await);
    let name = server.database().value("SELECT current_database()").await;
    server.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 0")).await;
    server.database().end_sessions().await;
    for name in ["ready", "write"] {
        becomes(&server, name, ServingStatus::NotServing).await;
    }
    assert_eq!(health(&server, "live").await, ServingStatus::Serving);
    server.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
    becomes(&server, "write", ServingStatus::Serving).await;
    assert_eq!(titles(&mut books, "").await, ["Before"]);
}

/// A single session is enough: it answers calls, probes and health by turns.
#[tokio::test]
async fn service_with_one_connection_is_ready() {
    let server = TestServer::start(Engine::Postgres).await;
    let mut books = client::books(&server);
    let name = server.database().value("SELECT current_database()").await;
    server.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 1")).await;
    server.database().end_sessions().await;
    until("a write succeeds", SOON, async || {
        books.create_book(create("", a_book("Alone"))).await.is_ok()
    })
    .await;
    for name in ["ready", "write"] {
        becomes(&server, name, ServingStatus::Serving).await;
    }
    // The pool has the only connection, and keeps it.
    let seconds = std::time::Duration::from_secs(4);
    let end = std::time::Instant::now() + seconds;
    while std::time::Instant::now() < end {
        assert!(!titles(&mut books, "title = \"Alone\"").await.is_empty());
        done(books.create_book(create("", a_book("Beside"))).await);
        for name in ["ready", "write"] {
            assert_eq!(health(&server, name).await, ServingStatus::Serving, "{name}");
        }
    }
}

/// A full disk stops writes, and its end is found out without a caller's write.
#[tokio::test]
async fn full_disk_is_reported_by_the_health_of_writes() {
    let server = TestServer::start(Engine::Postgres).await;
    let mut books = client::books(&server);
    // PostgreSQL reports it by this SQLSTATE, whatever the disk.
    server
        .sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON books \
             FOR EACH ROW EXECUTE FUNCTION full_disk(); \
             CREATE TRIGGER full_disk BEFORE INSERT ON idempotency_keys \
             FOR EACH ROW EXECUTE FUNCTION full_disk()",
        )
        .await;
    assert_eq!(health(&server, "write").await, ServingStatus::Serving);
    let written = books.create_book(create("", a_book("Within"))).await;
    refused(written).is(Code::ResourceExhausted, "DISK_FULL", &[]);
    becomes(&server, "write", ServingStatus::NotServing).await;
    assert_eq!(health(&server, "ready").await, ServingStatus::Serving);
    server.logs().wait_for(|line| line.contains("the database's disk is full")).await;
    assert!(titles(&mut books, "").await.is_empty());
    server.sql("DROP FUNCTION full_disk() CASCADE").await;
    becomes(&server, "write", ServingStatus::Serving).await;
    done(books.create_book(create("", a_book("After"))).await);
    assert_eq!(server.database().value("SELECT count(*) FROM idempotency_keys").await, "0");
}

//! Every state of the service × every health name × Check and Watch: the table of the README.

use std::sync::Arc;

use bookstore_proto::v1::{GetBookRequest, ListBooksRequest};
use bookstore_tests::{
    Database, Engine, Line, Origin, Signal, TestServer, on_every_engine, until, until_within,
};
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};

use super::{Held, SOON, Watch, health, names_by_database, waits_for_lock};
use crate::{admin, client};

on_every_engine!(draining_service_turns_health_not_serving);

/// The HTTP codes of the admin address's probes.
const OK: u16 = 200;
const UNAVAILABLE: u16 = 503;

/// Asserts every name in both ways: `live`, and the state of all others.
async fn assert_all(server: &TestServer, live: ServingStatus, others: ServingStatus) {
    let names = names_by_database().into_iter().map(|name| (name, others));
    for (name, wanted) in names.chain([("live".to_owned(), live)]) {
        let mut watch = Watch::of(server.channel(), &name).await;
        watch.sees(wanted, SOON).await;
        assert_eq!(health(server.channel(), &name).await, wanted, "{name:?}");
    }
    let address = server.admin_address().await;
    for (path, status) in [("/livez", live), ("/readyz", others)] {
        let wanted = if status == Serving { OK } else { UNAVAILABLE };
        let (code, body) = admin::get(address, path).await;
        assert_eq!(code, wanted, "{path}: {body}");
    }
}

async fn draining_service_turns_health_not_serving(engine: Engine) {
    let server = TestServer::builder(engine).env("ADMIN_ADDR", "127.0.0.1:0");
    let mut server = server.env("SHUTDOWN_PAUSE", "5m").start().await;
    assert_all(&server, Serving, Serving).await;
    let mut ready = Watch::of(server.channel(), "ready").await;
    server.signal(Signal::TERM);
    ready.sees(NotServing, SOON).await;
    assert_all(&server, NotServing, NotServing).await;
    let (_, why) = admin::get(server.admin_address().await, "/readyz").await;
    assert_eq!(why, "the service is about to stop\n");
    client::books(&server).list_books(ListBooksRequest::default()).await.expect("still served");
    server.kill().await;
}

#[tokio::test]
async fn service_behind_its_schema_is_live_and_not_serving() {
    let database = Arc::new(Database::create(Engine::Postgres, Origin::Empty).await);
    let line = Line::to(&database).await;
    line.freeze();
    let server = TestServer::builder(Engine::Postgres).on(Arc::clone(&database));
    let server = server.env("DATABASE_URL", line.url()).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = server.wait_for(Some("live")).start().await;
    assert_all(&server, Serving, NotServing).await;
    let address = server.admin_address().await;
    let why = async || admin::get(address, "/readyz").await.1;
    assert_eq!(why().await, "the database has not answered yet\n");
    line.restore();
    until("the schema is checked", SOON, async || why().await.starts_with("the schema lacks"))
        .await;
    assert_all(&server, Serving, NotServing).await;
    let (code, status) = admin::get(address, "/status").await;
    assert!(code == UNAVAILABLE && status.contains("SCHEMA_PENDING"), "{status}");
}

/// An exhausted pool is no reason for NOT_SERVING: the calls would move to other instances and
/// exhaust those.
#[tokio::test]
async fn exhausted_pool_leaves_every_health_name_serving() {
    let server = TestServer::builder(Engine::Postgres).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = server.env("DATABASE_POOL_SIZE", "1").env("DATABASE_MAX_OVERFLOW", "0");
    let server = server.env("DATABASE_POOL_TIMEOUT", "50ms").start().await;
    let database = server.database();
    let held = Held::table(&database).await;
    let mut books = client::books(&server);
    let stuck = tokio::spawn(async move {
        // The first connection may take longer to open than the pool timeout.
        loop {
            match books.list_books(ListBooksRequest::default()).await {
                Err(status) if super::refusal(&status).0 == "POOL_TIMEOUT" => {}
                ended => return ended,
            }
        }
    });
    waits_for_lock(&database).await;
    let get = GetBookRequest { id: client::id(1), ..Default::default() };
    let refused = client::books(&server).get_book(get).await.expect_err("no connection");
    assert_eq!(super::refusal(&refused), ("POOL_TIMEOUT".to_owned(), true));
    assert_all(&server, Serving, Serving).await;
    held.release().await;
    stuck.await.expect("no panic").expect("a list");
}

/// `live` never changes, and the service is ready within two seconds after the database.
#[tokio::test]
async fn lost_database_turns_health_not_serving_until_it_is_back() {
    const BACK: std::time::Duration = std::time::Duration::from_secs(2);
    let database = Arc::new(Database::create(Engine::Postgres, Origin::Migrated).await);
    let line = Line::to(&database).await;
    let server = TestServer::builder(Engine::Postgres).on(Arc::clone(&database));
    let server = server.env("DATABASE_URL", line.url()).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = server.start().await;
    let mut live = Watch::of(server.channel(), "live").await;
    live.sees(Serving, SOON).await;
    let moved = tokio::spawn(async move { live.0.message().await });
    let mut ready = Watch::of(server.channel(), "ready").await;
    for _ in 0..2 {
        line.cut();
        ready.sees(NotServing, SOON).await;
        assert_all(&server, Serving, NotServing).await;
        let (_, why) = admin::get(server.admin_address().await, "/readyz").await;
        assert_eq!(why, "the database doesn't answer\n");
        line.restore();
        until_within("a call is answered", BACK, async || {
            client::books(&server).list_books(ListBooksRequest::default()).await.is_ok()
        })
        .await;
        ready.sees_within(Serving, BACK).await;
        assert_all(&server, Serving, Serving).await;
    }
    assert!(!moved.is_finished(), "live has changed");
}

//! A schema that isn't there yet or is reverted, and the health of the service.

use std::{fs::File, sync::Arc, time::Duration};

use bookstore_proto::v1::{GetBookRequest, ListBooksRequest};
use bookstore_tests::{Database, Engine, Origin, TestServer, on_every_engine, run, until};
use tonic::Code;
use tonic_health::pb::{health_check_response::ServingStatus, health_client::HealthClient};

use super::{Held, SOON, Watch, health, named, names_by_database, refusal};
use crate::client;

on_every_engine!(
    health_of_an_unknown_name_is_not_found,
    service_waiting_for_the_migration_lock_answers_probes_and_stops
);

/// The limit from the end of the migration until the service has noticed.
const NOTICED: Duration = Duration::from_secs(3);

async fn assert_pending(server: &TestServer) {
    for name in names_by_database() {
        assert_eq!(health(server.channel(), &name).await, ServingStatus::NotServing, "{name:?}");
    }
    assert_eq!(health(server.channel(), "live").await, ServingStatus::Serving);
    let mut books = client::books(server);
    let list = books.list_books(ListBooksRequest::default()).await.expect_err("no schema");
    let get = books
        .get_book(GetBookRequest { id: client::id(1), ..Default::default() })
        .await
        .expect_err("no schema");
    let create = client::create(&client::id(1), client::a_book("Dune"));
    let create = books.create_book(create).await.expect_err("no schema");
    for status in [list, get, create] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(refusal(&status), ("SCHEMA_PENDING".to_owned(), true));
    }
}

#[tokio::test]
async fn schema_migrated_by_another_program_is_served_without_restart() {
    let server = TestServer::builder(Engine::Postgres).unmigrated().wait_for(Some("live"));
    let server = server.start().await;
    server.logs().wait_for(|line| line.contains("waiting for the schema")).await;
    assert_pending(&server).await;
    let mut ready = Watch::of(server.channel(), "ready").await;
    ready.sees(ServingStatus::NotServing, SOON).await;
    let database = server.database();
    let owner = [("DATABASE_URL", &*database.owner_url())];
    // The second time the service's sessions have prepared statements on tables that were dropped.
    for _ in 0..2 {
        let up = run(&["migrate", "up"], &owner).await;
        assert_eq!(up.code, Some(0), "{up:?}");
        ready.sees_within(ServingStatus::Serving, NOTICED).await;
        for name in names_by_database() {
            assert_eq!(health(server.channel(), &name).await, ServingStatus::Serving, "{name:?}");
        }
        super::with_a_book(&server).await;
        let list = client::books(&server).list_books(ListBooksRequest::default()).await;
        assert_eq!(list.expect("a list").into_inner().books.len(), 1);

        let down = run(&["migrate", "down", "base", "--yes", "--allow-data-loss"], &owner).await;
        assert_eq!(down.code, Some(0), "{down:?}");
        ready.sees_within(ServingStatus::NotServing, NOTICED).await;
        assert_pending(&server).await;
    }
}

/// The first migration creates the key of page tokens anew. The service adopts it; otherwise its
/// tokens would be invalid at other instances.
#[tokio::test]
async fn new_sealing_key_in_the_database_is_adopted() {
    let first = TestServer::start(Engine::Postgres).await;
    let database = first.database();
    let owner = [("DATABASE_URL", &*database.owner_url())];
    let mut ready = Watch::of(first.channel(), "ready").await;
    for (arguments, then) in [
        (&["migrate", "down", "base", "--yes", "--allow-data-loss"][..], ServingStatus::NotServing),
        (&["migrate", "up"][..], ServingStatus::Serving),
    ] {
        let migrated = run(arguments, &owner).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        ready.sees_within(then, NOTICED).await;
    }
    let second = TestServer::builder(Engine::Postgres).on(database).start().await;
    let mut books = client::books(&first);
    client::create_all(&mut books, &[client::a_book("Dune"), client::a_book("Emma")]).await;
    let mut request = ListBooksRequest { page_size: 1, ..Default::default() };
    let page = books.list_books(request.clone()).await.expect("a page").into_inner();
    request.page_token = page.next_page_token;
    let page = client::books(&second).list_books(request).await;
    assert_eq!(page.expect("a page by the other service's token").into_inner().books.len(), 1);
}

/// A holder of the lock that every migration of the database waits for.
enum Migrating {
    Postgres(Held),
    Sqlite(File),
}

impl Migrating {
    async fn on(database: &Database) -> Self {
        match database {
            Database::Postgres(_) => {
                let sql = "SELECT pg_advisory_xact_lock(x'626f6f6b73746f72'::bigint)";
                Self::Postgres(Held::by(database, sql).await)
            }
            Database::Sqlite(file) => {
                let mut path = file.path().into_os_string();
                path.push("-migrate.lock");
                let file = File::create(path).expect("the file to lock");
                file.lock().expect("no other migration runs");
                Self::Sqlite(file)
            }
        }
    }

    async fn release(self) {
        match self {
            Self::Postgres(held) => held.release().await,
            Self::Sqlite(file) => file.unlock().expect("a released lock"),
        }
    }
}

/// Another program holds the migration lock. Meanwhile probes and calls are answered, and a stop
/// signal works.
async fn service_waiting_for_the_migration_lock_answers_probes_and_stops(engine: Engine) {
    let database = Arc::new(Database::create(engine, Origin::Empty).await);
    let migrating = Migrating::on(&database).await;
    let waiting = async || {
        let server = TestServer::builder(engine).on(Arc::clone(&database)).wait_for(Some("live"));
        let server = server
            .env("DATABASE_URL", &database.owner_url())
            .env("DATABASE_MIGRATE", "true")
            .env("SHUTDOWN_PAUSE", "500ms")
            .start()
            .await;
        until("the schema is known to be pending", SOON, async || {
            let list = client::books(&server).list_books(ListBooksRequest::default()).await;
            refusal(&list.expect_err("no schema")).0 == "SCHEMA_PENDING"
        })
        .await;
        assert_pending(&server).await;
        server
    };
    let mut server = waiting().await;
    let ended = server.terminate().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.took.at_least(Duration::from_millis(500)), "without a pause: {:?}", ended.took);
    assert!(ended.took.at_most(Duration::from_secs(5)), "it took {:?}", ended.took);

    let server = waiting().await;
    let mut ready = Watch::of(server.channel(), "ready").await;
    ready.sees(ServingStatus::NotServing, SOON).await;
    migrating.release().await;
    ready.sees(ServingStatus::Serving, SOON).await;
    super::with_a_book(&server).await;
}

async fn health_of_an_unknown_name_is_not_found(engine: Engine) {
    let mut server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s").start().await;
    let mut client = HealthClient::new(server.channel());
    let status = client.check(named("unknown")).await.expect_err("a name that isn't known");
    assert_eq!(status.code(), Code::NotFound);
    let mut watch = client.watch(named("unknown")).await.expect("a watch").into_inner();
    let states = tokio::spawn(async move {
        let mut states = Vec::new();
        while let Some(state) = watch.message().await.expect("a state") {
            states.push(state.status());
        }
        states
    });
    // Two probes of the database pass; the watch neither ends nor sends another state.
    let mut ready = Watch::of(server.channel(), "ready").await;
    ready.sees(ServingStatus::Serving, SOON).await;
    assert!(!states.is_finished());
    assert_eq!(server.terminate().await.status.code(), Some(0));
    assert_eq!(states.await.expect("no panic"), [ServingStatus::ServiceUnknown]);
}

//! The life of the service: its start and stop, a missing or busy database, and deadlines.

mod deadline;
mod load;
mod matrix;
mod outage;
mod probe;
mod schema;
mod socket;
mod stale;
mod stop;

use std::time::Duration;

use bookstore_proto::v1::{Book, CreateBookRequest, UpdateBookRequest};
pub(crate) use bookstore_tests::SOON;
use bookstore_tests::{Database, PostgresDatabase, Stopwatch, TestServer, until};
use sqlx::{Connection, PgConnection};
use tokio::net::TcpStream;
use tonic::{Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::client;

/// A PostgreSQL session of the test that holds locks until it is released.
pub(crate) struct Held {
    session: PgConnection,
}

impl Held {
    /// Begins a transaction and runs SQL in it, as the superuser.
    async fn by(database: &Database, sql: &'static str) -> Self {
        let mut session = postgres(database).connect().await;
        sqlx::raw_sql("BEGIN").execute(&mut session).await.expect("a transaction");
        sqlx::raw_sql(sql).execute(&mut session).await.expect("a statement that takes locks");
        Self { session }
    }

    /// Locks every book for writes. Reads go on.
    pub(crate) async fn books(database: &Database) -> Self {
        Self::by(database, "SELECT id FROM books FOR UPDATE").await
    }

    /// Locks the table of books for reads too.
    pub(crate) async fn table(database: &Database) -> Self {
        Self::by(database, "LOCK TABLE books IN ACCESS EXCLUSIVE MODE").await
    }

    /// Releases the locks; nothing was changed.
    pub(crate) async fn release(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.session).await.expect("a rollback");
        self.session.close().await.expect("a session that ends");
    }
}

pub(crate) fn postgres(database: &Database) -> &PostgresDatabase {
    match database {
        Database::Postgres(database) => database,
        Database::Sqlite(_) => unreachable!("these cases are PostgreSQL's"),
    }
}

/// The number of the service's sessions that match a condition in SQL.
async fn sessions(database: &Database, state: &str) -> String {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'bookstore' AND {state}"
    );
    database.value(&sql).await
}

/// Whether the service's port accepts connections.
pub(crate) async fn can_connect(server: &TestServer) -> bool {
    TcpStream::connect(server.address()).await.is_ok()
}

/// Waits until a session of the service waits for a lock.
pub(crate) async fn waits_for_lock(database: &Database) {
    until("a session waits for a lock", SOON, async || {
        sessions(database, "wait_event_type = 'Lock'").await != "0"
    })
    .await;
}

/// Waits until no session of the service is busy or has a transaction open.
pub(crate) async fn is_idle(database: &Database) {
    until("every session is idle", SOON, async || {
        sessions(database, "state <> 'idle'").await == "0"
    })
    .await;
}

/// Creates a book in the service and returns its id.
async fn with_a_book(server: &TestServer) -> String {
    let id = client::id(1);
    let request: CreateBookRequest = client::create(&id, client::a_book("Dune"));
    client::books(server).create_book(request).await.expect("a book");
    id
}

/// A request to set the stock of the book.
fn restock(id: &str, stock: i32) -> UpdateBookRequest {
    let book = Some(Book { id: id.to_owned(), stock, ..Default::default() });
    UpdateBookRequest { book, ..Default::default() }
}

/// The stock of the book, read directly from the database.
async fn stock(database: &Database) -> String {
    database.value("SELECT stock FROM books").await
}

fn named(name: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: name.to_owned() }
}

/// The answer of a health check.
async fn health(channel: Channel, name: &str) -> ServingStatus {
    let answer = HealthClient::new(channel).check(named(name)).await;
    answer.expect("an answer about health").into_inner().status()
}

/// The health states of a name as they arrive.
struct Watch(tonic::Streaming<HealthCheckResponse>);

impl Watch {
    async fn of(channel: Channel, name: &str) -> Self {
        let states = HealthClient::new(channel).watch(named(name)).await;
        Self(states.expect("a watch").into_inner())
    }

    /// Waits for a state, skipping others.
    async fn sees(&mut self, wanted: ServingStatus, limit: Duration) {
        let seen = async {
            while let Some(state) = self.0.message().await.expect("a state") {
                if state.status() == wanted {
                    return;
                }
            }
            unreachable!("the watch ended before {wanted:?}");
        };
        let seen = tokio::time::timeout(limit, seen).await;
        assert!(seen.is_ok(), "not {wanted:?} within {limit:?}");
    }

    /// Waits for a state within a limit that is meant for an idle machine.
    async fn sees_within(&mut self, wanted: ServingStatus, limit: Duration) {
        let watch = Stopwatch::start();
        self.sees(wanted, SOON).await;
        let took = watch.stop();
        assert!(took.at_most(limit), "not {wanted:?} within {limit:?}, but after {took:?}");
    }
}

/// The reason of an error, and whether it has a retry delay.
fn refusal(status: &Status) -> (String, bool) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    (reason.unwrap_or_else(|| format!("{status:?}")), details.retry_info().is_some())
}

/// The health names that follow the database: the service's own, and those of the contract's
/// services.
fn names_by_database() -> Vec<String> {
    let services = bookstore_proto::DESCRIPTOR_POOL.services();
    let services = services.map(|service| service.full_name().to_owned());
    let ours = services.filter(|name| name.starts_with("bookstore."));
    ["", "ready", "write"].map(str::to_owned).into_iter().chain(ours).collect()
}

//! What a session needs is set or checked as it is opened: settings of roles, the encoding, an
//! operator's read-only mode, poolers.

mod files;
mod limits;

use std::sync::Arc;

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{
    Database, Engine, Origin, Postgres, REVERSED_SETTINGS, Replicated, SOON, TestServer,
    reverse_settings, run, until,
};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    admin,
    client::{self, Books, a_book, create, done, message, refused, with},
    migrate::pooler::{hand_down, pool, through},
};

/// A role that has every setting turned round migrates, writes, filters and reads as any other.
#[tokio::test]
async fn settings_of_a_role_change_no_answer() {
    let database = Arc::new(Database::create(Engine::Postgres, Origin::Empty).await);
    let name = database.value("SELECT current_database()").await;
    database.sql(&reverse_settings(&name)).await;
    let migrated = run(&["migrate", "up"], &[("DATABASE_URL", &database.owner_url())]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let server = TestServer::builder(Engine::Postgres).on(database.clone()).start().await;
    let mut books = client::books(&server);
    let title = r"O'Neill \ 100%";
    let book = with(a_book(title), json!({"attributes": {"weight": 0.1, "text": r"a\'b"}}));
    let created = done(books.create_book(create("", book)).await);
    for filter in [r#"title:"O'Neill \\""#, r#"title = "O'Neill \\ 100%""#] {
        assert_eq!(titles(&mut books, filter).await, [title], "{filter}");
    }
    // A time without its zone would be another one in this role's time zone.
    let time = created.create_time.expect("a time").to_string();
    assert_eq!(titles(&mut books, &format!("create_time = \"{time}\"")).await, [title]);
    // The role's limit of an idle session is 300 ms.
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                AND datname = current_database() AND state = 'idle' \
                AND now() - state_change > interval '600 ms'";
    until("a session is idle", SOON, async || database.value(idle).await != "0").await;
    assert_eq!(titles(&mut books, "").await, [title]);
}

/// The suite's short form with every setting of the roles reversed: in a process of its own, since
/// each has one cluster.
#[tokio::test]
async fn suite_passes_with_every_setting_of_the_roles_reversed() {
    let suite = std::env::current_exe().expect("this program");
    let mut suite = tokio::process::Command::new(suite);
    suite.args(REVERSED).env(REVERSED_SETTINGS, "1").kill_on_drop(true);
    let output = suite.output().await.expect("the suite");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let passed = text.rsplit_once("test result: ok. ").and_then(|(_, rest)| rest.split_once(' '));
    let passed: u32 = passed.and_then(|(count, _)| count.parse().ok()).expect("a count");
    assert!(passed >= 40, "{passed} tests");
}

/// Filters, orders and carts, and what else books, orders and carts are tested for.
const REVERSED: &[&str] = &["book::", "order::", "cart::", "--skip=sqlite", "--skip=trials::"];

/// An acknowledged write survives a crash of the server, also where a role gives that up.
#[tokio::test]
async fn acknowledged_write_survives_a_crash_whatever_the_role_sets() {
    let mut cluster = Replicated::start(0).await;
    let lazily = "ALTER ROLE bookstore_app SET synchronous_commit = off; \
                  ALTER SYSTEM SET wal_writer_delay = '10s'; SELECT pg_reload_conf()";
    cluster.execute(0, lazily).await;
    let url = cluster.url("bookstore_app", 0);
    let server = TestServer::builder(Engine::Postgres).url(&url).start().await;
    let mut books = client::books(&server);
    for title in ["One", "Two"] {
        done(books.create_book(create("", a_book(title))).await);
        cluster.kill(0).await;
        cluster.restart(0).await;
        let list =
            || message::<ListBooksRequest>(json!({"filter": format!("title = \"{title}\"")}));
        until("the service reads again", SOON, async || books.list_books(list()).await.is_ok())
            .await;
        assert_eq!(titles(&mut books, &format!("title = \"{title}\"")).await, [title]);
    }
}

async fn titles(books: &mut Books, filter: &str) -> Vec<String> {
    let request = message::<ListBooksRequest>(json!({"filter": filter}));
    done(books.list_books(request).await).books.into_iter().map(|book| book.title).collect()
}

/// A database that is not in UTF-8 compares characters wrongly, without an error.
#[tokio::test]
async fn database_of_another_encoding_is_refused() {
    let postgres = Postgres::shared().await;
    let mut superuser = postgres.connect("postgres").await;
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let name = format!("encoding_{}", encoding.to_lowercase());
        let sql = format!(
            "CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER libc \
                           ENCODING '{encoding}' LOCALE 'C'"
        );
        let created = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut superuser).await;
        created.expect("a database");
        let sentence = format!("the database's encoding is {encoding}, and UTF8 is needed");
        let url = postgres.url("postgres", &name);
        let migrated = run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(migrated.code, Some(1), "{migrated:?}");
        assert!(migrated.errors.contains(&sentence), "{migrated:?}");
        let server = TestServer::builder(Engine::Sqlite).url(&url).env("ADMIN_ADDR", "127.0.0.1:0");
        let server = server.wait_for(None).start().await;
        let address = server.admin_address().await;
        until("the probe says why", SOON, async || {
            admin::get(address, "/readyz").await.1.contains(&sentence)
        })
        .await;
        server.logs().wait_for(|line| line.contains(&sentence)).await;
        assert_eq!(health(&server, "ready").await, ServingStatus::NotServing);
        drop(server);
        let sql = format!("DROP DATABASE {name} WITH (FORCE)");
        let dropped = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut superuser).await;
        dropped.expect("no database");
    }
}

/// Operators and hosters make a database read-only for a maintenance or when a disk is nearly full.
#[tokio::test]
async fn read_only_mode_of_an_operator_stops_writes_alone() {
    let server = TestServer::start(Engine::Postgres).await;
    let mut books = client::books(&server);
    let database = server.database();
    let name = database.value("SELECT current_database()").await;
    done(books.create_book(create("", a_book("Before"))).await);
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.sql(&set).await;
    let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.sql(sessions).await;
    until("a write is refused", SOON, async || {
        let written = books.clone().create_book(create("", a_book("Within"))).await;
        written.is_err_and(|status| status.code() == Code::Unavailable)
    })
    .await;
    becomes(&server, "write", ServingStatus::NotServing).await;
    assert_eq!(health(&server, "ready").await, ServingStatus::Serving);
    refused(books.create_book(create("", a_book("Within"))).await).is(
        Code::Unavailable,
        "DATABASE_UNAVAILABLE",
        &[],
    );
    server.logs().wait_for(|line| line.contains("default_transaction_read_only is on")).await;
    assert!(titles(&mut books, "title = \"Within\"").await.is_empty());
    assert_eq!(titles(&mut books, "title = \"Before\"").await, ["Before"]);
    let reset = format!(
        "SET TRANSACTION READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only"
    );
    database.sql(&reset).await;
    becomes(&server, "write", ServingStatus::Serving).await;
    done(books.create_book(create("", a_book("After"))).await);
}

/// Through a pooler in transaction mode a call would get the rows of another call's statement.
#[tokio::test]
async fn pooler_in_transaction_mode_is_refused() {
    let database = Database::create(Engine::Postgres, Origin::Migrated).await;
    let url = through(&database.url(), pool).await;
    let through = TestServer::builder(Engine::Sqlite).url(&url).wait_for(None).start().await;
    let said = |line: &str| {
        // On a busy machine the check that two sessions differ may come after the next opening.
        let signs = ["share the server's process", "another client has used this session"];
        ["goes through a pooler", "session mode"].iter().all(|part| line.contains(part))
            && signs.iter().any(|sign| line.contains(sign))
    };
    through.logs().wait_for(said).await;
    assert_eq!(health(&through, "ready").await, ServingStatus::NotServing);
    refused(client::books(&through).list_books(ListBooksRequest::default()).await).is(
        Code::Unavailable,
        "DATABASE_UNAVAILABLE",
        &[],
    );
}

/// A pooler that has no second session hands a used one down, with what another client has set.
#[tokio::test]
async fn session_of_another_client_is_refused() {
    let database = Database::create(Engine::Postgres, Origin::Migrated).await;
    let url = through(&database.url(), hand_down).await;
    let mut other = PgConnection::connect(&url).await.expect("a session");
    let set = "SELECT set_config('bookstore.session', 'in use', false)";
    sqlx::raw_sql(set).execute(&mut other).await.expect("a setting");
    other.close().await.expect("the end of the session for this client");
    let server = TestServer::builder(Engine::Sqlite).url(&url).wait_for(None).start().await;
    let said = |line: &str| line.contains("another client has used this session");
    server.logs().wait_for(said).await;
    assert_eq!(health(&server, "ready").await, ServingStatus::NotServing);
}

/// Waits until a name has a state of health.
async fn becomes(server: &TestServer, name: &str, status: ServingStatus) {
    until("health has changed", SOON, async || health(server, name).await == status).await;
}

async fn health(server: &TestServer, name: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: name.to_owned() };
    let answer = HealthClient::new(server.channel()).check(request).await;
    answer.expect("an answer about health").into_inner().status()
}

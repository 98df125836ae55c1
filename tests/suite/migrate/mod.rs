//! `bookstore migrate` with revisions of the tests: kills, known failures of other tools, older and
//! newer programs, subcommands, rebuilt tables, scripts.

mod examples;
mod kill;
mod locks;
mod offline;
pub(crate) mod pooler;
mod rebuild;
mod reports;
mod verbs;
mod versions;

use std::{process::Stdio, time::Duration};

use bookstore_tests::{
    Database, Engine, Finished, Origin, REVISIONS, Row, catalog, program, until,
};
use serde_json::Value;
use sqlx::Connection as _;
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

/// The timeout of an immediate reaction, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A program whose revisions are the released ones and these.
struct Migrator {
    url: String,
    file: NamedTempFile,
}

impl Migrator {
    /// With a file of revisions, for a database.
    fn new(database: &Database, revisions: &Value) -> Self {
        Self::at(database.owner_url(), revisions)
    }

    /// The same by a URL.
    fn at(url: String, revisions: &Value) -> Self {
        let file = NamedTempFile::new().expect("a file for revisions");
        std::fs::write(file.path(), revisions.to_string()).expect("the revisions");
        Self { url, file }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("migrate").args(arguments).env_clear();
        command.env("DATABASE_URL", &self.url).env(REVISIONS, self.file.path());
        command.env("LOG_LEVEL", "warn").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts a subcommand.
    fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the program under test starts")
    }

    /// Runs a subcommand to its end.
    async fn run(&self, arguments: &[&str]) -> Finished {
        finished(self.spawn(arguments)).await
    }

    /// Runs a subcommand that must succeed; returns its output.
    async fn ok(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        finished.output
    }

    /// Runs a subcommand that must fail with this code; returns its errors.
    async fn fails(&self, arguments: &[&str], code: i32) -> String {
        let finished = self.run(arguments).await;
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
        finished.errors
    }
}

/// Waits for a program's end.
async fn finished(child: Child) -> Finished {
    let output = tokio::time::timeout(Duration::from_secs(120), child.wait_with_output())
        .await
        .expect("a command that ends within two minutes")
        .expect("its end");
    Finished {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A database that the released program has migrated.
async fn migrated(engine: Engine) -> Database {
    let database = Database::create(engine, Origin::Migrated).await;
    if engine == Engine::Sqlite {
        Migrator::new(&database, &serde_json::json!({})).ok(&["up"]).await;
    }
    database
}

/// The recorded revisions, without times.
async fn records(database: &Database) -> Vec<Row> {
    let sql = "SELECT version, parent, message, author, minimum_head, hash, sql, program \
               FROM bookstore_migrations ORDER BY version";
    let mut rows = database.sql(sql).await;
    rows.extend(database.sql("SELECT version FROM seaql_migrations ORDER BY version").await);
    rows.extend(database.sql("SELECT version, step FROM bookstore_migration_steps").await);
    rows
}

/// Compares a database with one that was migrated without interruption.
async fn is_head(database: &Database, revisions: &Value) {
    let fresh = Database::create(database.engine(), Origin::Empty).await;
    Migrator::new(&fresh, revisions).ok(&["up"]).await;
    assert_eq!(catalog(database).await, catalog(&fresh).await);
    assert_eq!(names(database).await, names(&fresh).await);
    assert_eq!(database.sql("SELECT * FROM bookstore_migration_steps").await, Vec::<Row>::new());
}

/// The names of the recorded revisions.
async fn names(database: &Database) -> Vec<Row> {
    database.sql("SELECT version FROM seaql_migrations ORDER BY version").await
}

/// Waits until SQL returns a row.
async fn until_sql(what: &str, database: &Database, sql: &str) {
    until(what, SOON, async || !database.sql(sql).await.is_empty()).await;
}

/// Holds a lock on a table until the returned session is dropped or committed. The session has the
/// migrator's role, so that the migrator may see its statement.
async fn hold(database: &Database, mode: &str) -> sqlx::PgConnection {
    let mut session = sqlx::PgConnection::connect(&database.owner_url()).await.expect("a session");
    let sql = format!("BEGIN; LOCK TABLE items IN {mode} MODE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut session).await.expect("the lock");
    session
}

/// A condition on pg_stat_activity for a migrator's sessions.
const OURS: &str =
    "datname = current_database() AND application_name = 'bookstore-migrate' AND state IS NOT NULL";

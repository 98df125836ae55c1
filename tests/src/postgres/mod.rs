//! PostgreSQL for tests: one cluster a run, one database a test.

pub(crate) mod cluster;
pub(crate) mod managers;
pub(crate) mod patroni;
pub(crate) mod pgbouncer;
mod processes;
mod programs;
mod replicated;
mod role_settings;

use std::{
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

pub use pgbouncer::is_installed as has_pgbouncer;
pub use replicated::Replicated;
pub use role_settings::{VARIABLE as REVERSED_SETTINGS, reverse_settings};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{Mutex, OnceCell};

use crate::{SOON, guard::Run, program::run, until};

const TEMPLATE: &str = "template_bookstore";

/// The roles and privileges, from the same file that operators run.
const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");

/// The run's PostgreSQL cluster. It trusts every local connection. Its default collation is ICU's
/// `en-US`.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    directory: PathBuf,
}

/// PostgreSQL's shell, beside the server's programs or on the path.
pub fn psql() -> PathBuf {
    let beside = programs::find().map(|folder| folder.join("psql")).unwrap_or_default();
    if beside.is_file() { beside } else { "psql".into() }
}

/// The contents of a new database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The whole schema, copied from a database that the program migrated.
    Migrated,
    /// Roles and privileges, and no table.
    Empty,
}

impl Postgres {
    /// The cluster, started at first use.
    ///
    /// # Panics
    /// If PostgreSQL isn't installed (the message gives the fix) or doesn't start.
    pub async fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        let shared = tokio::task::spawn_blocking(|| {
            SHARED.get_or_init(|| {
                let run = Run::shared();
                let port = run.postgres()?;
                Ok(Postgres { port, directory: run.directory.join("postgres") })
            })
        });
        match shared.await.expect("no panic in the cluster's start") {
            Ok(postgres) => postgres,
            Err(error) => panic!("{error}"),
        }
    }

    /// The URL of a database for a role.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection as the superuser.
    ///
    /// # Panics
    /// If the database doesn't exist.
    pub async fn connect(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass().socket(&self.directory);
        let options = options.port(self.port).username("postgres").database(database);
        PgConnection::connect_with(&options).await.expect("a connection as the superuser")
    }

    /// Waits until the cluster answers again after a crash.
    ///
    /// # Panics
    /// If that takes longer than [`SOON`].
    pub async fn recovered(&self) {
        let options = PgConnectOptions::new_without_pgpass().socket(&self.directory);
        let options = options.port(self.port).username("postgres").database("postgres");
        until("the cluster answers again", SOON, async || {
            PgConnection::connect_with(&options).await.is_ok()
        })
        .await;
    }

    /// The server's log, one JSON object a line.
    pub fn log(&self) -> PathBuf {
        self.directory.join("data/log/server.json")
    }

    /// A new database, owned by `bookstore_owner`. Dropping the handle drops it.
    ///
    /// # Panics
    /// If it can't be created, or the program can't migrate the template.
    pub async fn database(&'static self, origin: Origin) -> PostgresDatabase {
        static TEMPLATE_MADE: OnceCell<()> = OnceCell::const_new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let template = match origin {
            Origin::Migrated => {
                TEMPLATE_MADE.get_or_init(|| self.make_template()).await;
                TEMPLATE
            }
            Origin::Empty => "template0",
        };
        let name = format!("t_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.create(&name, template).await;
        PostgresDatabase { name, postgres: self }
    }

    async fn make_template(&self) {
        self.create(TEMPLATE, "template0").await;
        let url = self.url("bookstore_owner", TEMPLATE);
        let migrated = run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(migrated.code, Some(0), "the template can't be migrated: {migrated:#?}");
    }

    async fn create(&self, name: &str, template: &str) {
        // One at a time: a template must not be in use, and roles belong to the cluster.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        let mut connection = self.connect("postgres").await;
        for statement in [
            // An earlier test may have been cancelled during the creation.
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE {template}"),
        ] {
            execute(&mut connection, statement).await;
        }
        drop(connection.close().await);
        // Privileges on the database itself aren't copied from a template.
        let mut connection = self.connect(name).await;
        execute(&mut connection, ROLES.to_owned()).await;
        // A run of the suite may turn every setting of the roles round.
        if std::env::var_os(REVERSED_SETTINGS).is_some() {
            execute(&mut connection, reverse_settings(name)).await;
        }
        drop(connection.close().await);
    }
}

async fn execute(connection: &mut PgConnection, sql: String) {
    let sql = sqlx::AssertSqlSafe(sql);
    sqlx::raw_sql(sql).execute(connection).await.expect("a statement of the harness");
}

/// A database of one test.
#[derive(Debug)]
pub struct PostgresDatabase {
    name: String,
    postgres: &'static Postgres,
}

impl PostgresDatabase {
    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL for a role of `deploy/postgres/roles.sql`, or for the superuser `postgres`.
    pub fn url(&self, role: &str) -> String {
        self.postgres.url(role, &self.name)
    }

    /// A connection as the superuser.
    pub async fn connect(&self) -> PgConnection {
        self.postgres.connect(&self.name).await
    }
}

impl Drop for PostgresDatabase {
    /// Drops the database in another thread. Nothing waits for it: it only saves disk space, since
    /// the cluster goes with the run.
    fn drop(&mut self) {
        static DROPPER: OnceLock<mpsc::Sender<String>> = OnceLock::new();
        let postgres = self.postgres;
        let dropper = DROPPER.get_or_init(|| {
            let (sender, names) = mpsc::channel::<String>();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime to drop databases");
                for name in names {
                    runtime.block_on(async {
                        let mut connection = postgres.connect("postgres").await;
                        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                        execute(&mut connection, sql).await;
                    });
                }
            });
            sender
        });
        drop(dropper.send(std::mem::take(&mut self.name)));
    }
}

//! The one place that opens connections to a database, with the settings of their sessions.

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use sea_orm::{DbBackend, DbErr, RuntimeErr};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection, Row, SqliteConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    error::StoreError,
    session::{
        connection::{Access, Connection, Driver, Server},
        interrupt::Interrupt,
        statement_log::{DatabaseAttributes, StatementLog, Statements},
    },
};

/// How many prepared statements a PostgreSQL session keeps: lists have a text for each shape
/// of filter, order and page size.
const STATEMENT_CACHE: usize = 256;

/// How long a SQLite session waits for another process's lock on the file.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the sessions of one node.
#[derive(Clone)]
pub(crate) struct Connector {
    target: Target,
    log: Arc<Statements>,
    command_timeout: Duration,
    /// Whether the URL wants SQLite's file to be made.
    makes_file: bool,
}

#[derive(Clone)]
enum Target {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

impl Connector {
    /// Reads a database URL; opens nothing yet.
    ///
    /// # Errors
    /// If the URL can't be read or is of no kind that is known. The error doesn't repeat it.
    pub(crate) fn new(
        url: &str,
        log: StatementLog,
        command_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let unreadable =
            |error: sqlx::Error| StoreError::internal(format!("DATABASE_URL: {error}"));
        let target = if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)
                .map_err(unreadable)?
                .journal_mode(SqliteJournalMode::Wal)
                // An acknowledged write survives a power cut.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(SQLITE_BUSY_TIMEOUT)
                .statement_cache_capacity(STATEMENT_CACHE)
                .disable_statement_logging();
            Target::Sqlite(Box::new(options))
        } else {
            let options = PgConnectOptions::from_str(url)
                .map_err(unreadable)?
                .application_name("bookstore")
                .statement_cache_capacity(STATEMENT_CACHE)
                .disable_statement_logging();
            Target::Postgres(Box::new(options))
        };
        let database = match &target {
            Target::Postgres(options) => DatabaseAttributes {
                system: "postgresql",
                address: Some(options.get_host().into()),
                namespace: options.get_database().map(Arc::from),
            },
            Target::Sqlite(options) => DatabaseAttributes {
                system: "sqlite",
                address: None,
                namespace: Some(options.get_filename().display().to_string().into()),
            },
        };
        let makes_file = url.contains("mode=rwc");
        let log = Arc::new(Statements { log, database });
        Ok(Self { target, log, command_timeout, makes_file })
    }

    /// The engine that the URL names.
    pub(crate) fn backend(&self) -> DbBackend {
        match self.target {
            Target::Postgres(_) => DbBackend::Postgres,
            Target::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    /// The same for the service's own statements, which are not logged.
    pub(crate) fn quiet(&self) -> Self {
        let (log, database) = (StatementLog::default(), self.log.database.clone());
        Self { log: Arc::new(Statements { log, database }), ..self.clone() }
    }

    /// Opens a session that may do what `access` says, and no more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], whatever the reason: nothing has run yet.
    pub(crate) async fn open(&self, access: Access) -> Result<Connection, StoreError> {
        let opened = match &self.target {
            Target::Postgres(options) => self.open_postgres(options, access).await,
            Target::Sqlite(options) => {
                self.make_sqlite_file();
                open_sqlite(options, access).await
            }
        };
        let driver = opened.map_err(|error| StoreError::Unavailable(connection_error(error)))?;
        Ok(Connection::new(driver, access, self.log.clone(), self.command_timeout))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that opens connections")]
    async fn open_postgres(
        &self,
        options: &PgConnectOptions,
        access: Access,
    ) -> Result<Driver, sqlx::Error> {
        let mut session: PgConnection = options.connect().await?;
        let read_only = match access {
            Access::ReadWrite => "off",
            Access::ReadOnly => "on",
        };
        let timeout = self.command_timeout.as_millis().max(1);
        // As statements rather than start-up options, which poolers between us and the
        // server refuse. The last one is a net: no transaction of ours is ever idle that long.
        let settings = format!(
            "SET TIME ZONE 'UTC'; SET default_transaction_read_only = {read_only}; \
             SET statement_timeout = {timeout}; \
             SET idle_in_transaction_session_timeout = {timeout}; SELECT pg_backend_pid()::text, \
             (SELECT system_identifier FROM pg_control_system())::text, \
             (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(settings)).fetch_one(&mut session).await?;
        let number = |at: usize| -> Result<i64, sqlx::Error> {
            let text: String = row.try_get(at)?;
            text.parse().map_err(|_| sqlx::Error::Protocol("a number was expected".into()))
        };
        let process = i32::try_from(number(0)?).unwrap_or_default();
        // Sixty-four bits that PostgreSQL has as a signed number.
        let (system, started) = (number(1)?.cast_unsigned(), number(2)?);
        Ok(Driver::Postgres(Box::new(session), Server { process, system, started }))
    }

    /// The file of a SQLite database.
    pub(crate) fn sqlite_file(&self) -> Option<&Path> {
        match &self.target {
            Target::Postgres(_) => None,
            Target::Sqlite(options) => Some(options.get_filename()),
        }
    }

    /// Makes the file of a SQLite database that isn't there and is to be made, for its owner
    /// alone: it holds hashes of passwords. SQLite gives the files beside it the same mode. Whatever
    /// goes wrong is told as the file is opened.
    fn make_sqlite_file(&self) {
        let mut file = std::fs::OpenOptions::new();
        file.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        if let Some(path) = self.sqlite_file().filter(|_| self.makes_file) {
            let _ = file.open(path);
        }
    }

    /// A plain connection for migrations. Without the service's statement timeout, since building
    /// an index takes what it takes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    #[expect(clippy::disallowed_methods, reason = "the one place that opens connections")]
    pub(crate) async fn open_plain(&self) -> Result<PlainConnection, StoreError> {
        self.make_sqlite_file();
        let opened = match &self.target {
            Target::Postgres(options) => {
                let options = (**options).clone().application_name("bookstore-migrate");
                options.connect().await.map(|session| PlainConnection::Postgres(Box::new(session)))
            }
            Target::Sqlite(options) => {
                options.connect().await.map(|session| PlainConnection::Sqlite(Box::new(session)))
            }
        };
        opened.map_err(|error| StoreError::Unavailable(connection_error(error)))
    }
}

/// Opens a database of SQLite in memory, empty and without foreign keys, to try a schema on.
///
/// # Errors
/// [`StoreError::Unavailable`].
#[expect(clippy::disallowed_methods, reason = "the one place that opens connections")]
pub async fn open_in_memory() -> Result<PlainConnection, StoreError> {
    let options = SqliteConnectOptions::new().filename(":memory:").foreign_keys(false);
    let opened = options.disable_statement_logging().connect().await;
    let opened = opened.map_err(|error| StoreError::Unavailable(connection_error(error)))?;
    Ok(PlainConnection::Sqlite(Box::new(opened)))
}

/// A connection as the driver has it, for migrations: they set what they need themselves.
#[derive(Debug)]
pub enum PlainConnection {
    /// To PostgreSQL.
    Postgres(Box<PgConnection>),
    /// To SQLite.
    Sqlite(Box<SqliteConnection>),
}

#[expect(clippy::disallowed_methods, reason = "the one place that opens connections")]
async fn open_sqlite(
    options: &SqliteConnectOptions,
    access: Access,
) -> Result<Driver, sqlx::Error> {
    // Readers too open the file for writing, since the write-ahead log needs that;
    // `query_only` is what holds them.
    let options = match access {
        Access::ReadWrite => options.clone(),
        Access::ReadOnly => options.clone().pragma("query_only", "on"),
    };
    let mut session = options.connect().await?;
    let interrupt = Interrupt::install(&mut session).await?;
    Ok(Driver::Sqlite(Box::new(session), interrupt))
}

fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}

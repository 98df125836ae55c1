//! Opens connections to a database, with the settings of their sessions. No other file does.

mod tls;

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
        connection::{
            Connection,
            driver::{Access, Driver, ServerIdentity},
        },
        interrupt::Interrupt,
        statement_log::{DatabaseAttributes, StatementLog, Statements},
    },
};

/// How many prepared statements a session caches. A list has one text for each shape of filter,
/// order and page size.
const STATEMENT_CACHE: usize = 256;

/// The `application_name` of sessions for which the URL has none.
const APPLICATION_NAME: &str = "bookstore";

/// How long a SQLite session waits for another process's lock on the file.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the connections to one node.
#[derive(Clone)]
pub(crate) struct Connector {
    engine: EngineOptions,
    log: Arc<Statements>,
    command_timeout: Duration,
    /// Whether the URL wants SQLite's file to be made.
    makes_file: bool,
}

#[derive(Clone)]
enum EngineOptions {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

impl Connector {
    /// Reads a database URL; opens nothing yet.
    ///
    /// # Errors
    /// If the URL is invalid or has an unknown scheme. The error doesn't repeat the URL, which
    /// may hold a password.
    pub(crate) fn new(
        url: &str,
        log: StatementLog,
        command_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let unreadable =
            |error: sqlx::Error| StoreError::internal(format!("DATABASE_URL: {error}"));
        let engine = if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)
                .map_err(unreadable)?
                .journal_mode(SqliteJournalMode::Wal)
                // An acknowledged write survives a power cut.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(SQLITE_BUSY_TIMEOUT)
                .statement_cache_capacity(STATEMENT_CACHE)
                .disable_statement_logging();
            EngineOptions::Sqlite(Box::new(options))
        } else {
            let mut options = PgConnectOptions::from_str(url).map_err(unreadable)?;
            let is_named = options.get_application_name().is_some_and(|name| !name.is_empty());
            if !is_named {
                options = options.application_name(APPLICATION_NAME);
            }
            let options =
                options.statement_cache_capacity(STATEMENT_CACHE).disable_statement_logging();
            EngineOptions::Postgres(Box::new(options))
        };
        let database = match &engine {
            EngineOptions::Postgres(options) => DatabaseAttributes {
                system: "postgresql",
                address: Some(options.get_host().into()),
                namespace: options.get_database().map(Arc::from),
            },
            EngineOptions::Sqlite(options) => DatabaseAttributes {
                system: "sqlite",
                address: None,
                namespace: Some(options.get_filename().display().to_string().into()),
            },
        };
        let log = Arc::new(Statements { log, database });
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        let mode = parameters.split('&').filter_map(|pair| pair.strip_prefix("mode=")).next_back();
        let makes_file = mode == Some("rwc");
        Ok(Self { engine, log, command_timeout, makes_file })
    }

    /// The engine, by the URL's scheme.
    pub(crate) fn backend(&self) -> DbBackend {
        match self.engine {
            EngineOptions::Postgres(_) => DbBackend::Postgres,
            EngineOptions::Sqlite(_) => DbBackend::Sqlite,
        }
    }

    /// The same connector without a statement log, for the service's own queries.
    pub(crate) fn quiet(&self) -> Self {
        let (log, database) = (StatementLog::default(), self.log.database.clone());
        Self { log: Arc::new(Statements { log, database }), ..self.clone() }
    }

    /// Opens a session with this access.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for every reason, since no statement has run yet.
    pub(crate) async fn open(&self, access: Access) -> Result<Connection, StoreError> {
        let opened = match &self.engine {
            EngineOptions::Postgres(options) => self.open_postgres(options, access).await,
            EngineOptions::Sqlite(options) => {
                self.create_sqlite_file();
                open_sqlite(options, access).await
            }
        };
        let driver = opened.map_err(|error| StoreError::Unavailable(connection_error(error)))?;
        Ok(Connection::new(driver, access, self.log.clone(), self.command_timeout))
    }

    async fn open_postgres(
        &self,
        options: &PgConnectOptions,
        access: Access,
    ) -> Result<Driver, sqlx::Error> {
        let mut session = tls::connect(options).await?;
        let read_only = match access {
            Access::ReadWrite => "off",
            Access::ReadOnly => "on",
        };
        let timeout = self.command_timeout.as_millis().max(1);
        // SET statements, since poolers such as PgBouncer refuse start-up options. The last one is
        // a safety net: the store ends its transactions earlier.
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
        // PostgreSQL shows the unsigned 64-bit identifier as a signed number.
        let (system, started) = (number(1)?.cast_unsigned(), number(2)?);
        Ok(Driver::Postgres(Box::new(session), ServerIdentity { process, system, started }))
    }

    /// The file of a SQLite database; `None` on PostgreSQL.
    pub(crate) fn sqlite_file(&self) -> Option<&Path> {
        match &self.engine {
            EngineOptions::Postgres(_) => None,
            EngineOptions::Sqlite(options) => Some(options.get_filename()),
        }
    }

    /// Creates the file of a SQLite database with mode 0600 if the URL asks for a new one: it
    /// holds password hashes. SQLite gives the WAL file the same mode. An error shows when SQLite
    /// opens the file.
    fn create_sqlite_file(&self) {
        let mut file = std::fs::OpenOptions::new();
        file.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        if let Some(path) = self.sqlite_file().filter(|_| self.makes_file) {
            let _ = file.open(path);
        }
    }

    /// Opens a plain connection for migrations. It has no statement timeout, since building an index
    /// may take hours.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    #[expect(clippy::disallowed_methods, reason = "the one place that opens connections")]
    pub(crate) async fn open_plain(&self) -> Result<PlainConnection, StoreError> {
        self.create_sqlite_file();
        let opened = match &self.engine {
            EngineOptions::Postgres(options) => {
                let mut options = (**options).clone();
                if options.get_application_name() == Some(APPLICATION_NAME) {
                    options = options.application_name("bookstore-migrate");
                }
                tls::connect(&options)
                    .await
                    .map(|session| PlainConnection::Postgres(Box::new(session)))
            }
            EngineOptions::Sqlite(options) => {
                options.connect().await.map(|session| PlainConnection::Sqlite(Box::new(session)))
            }
        };
        opened.map_err(|error| StoreError::Unavailable(connection_error(error)))
    }
}

/// Opens an empty SQLite database in memory, without foreign keys, to try a schema on.
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

/// A connection of the driver, for migrations, which apply settings of their own.
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
    // Readers too open the file for writing, since SQLite's write-ahead log requires it.
    // `query_only` makes the session read-only.
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

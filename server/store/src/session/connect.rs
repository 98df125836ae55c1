//! Opens connections to a database, with the settings of their sessions. No other file does.

use std::{
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::{DbBackend, DbErr, RuntimeErr};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, SqliteConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use tokio::sync::Mutex;

use crate::{
    error::StoreError,
    session::{
        connection::{
            Connection,
            driver::{Access, Driver, ServerIdentity},
        },
        interrupt::Interrupt,
        pooler,
        settings::{self, Opened, Refusal, SessionUse},
        statement_log::{DatabaseAttributes, StatementLog, Statements},
    },
};

/// How many prepared statements a session caches. A list has one text for each shape of filter,
/// order and page size.
const STATEMENT_CACHE: usize = 256;

/// How long a SQLite session waits for another process's lock on the file.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sessions count as this program's alone before that is checked again.
const UNSHARED_FOR: Duration = Duration::from_secs(60);

/// Opens the connections to one node.
#[derive(Clone)]
pub(crate) struct Connector {
    engine: EngineOptions,
    log: Arc<Statements>,
    command_timeout: Duration,
    /// Whether the last session was read-only as it was opened: by an operator.
    is_read_only: Arc<AtomicBool>,
    /// When the sessions were last found to be this program's alone.
    unshared_at: Arc<Mutex<Option<Instant>>>,
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
            let options = PgConnectOptions::from_str(url)
                .map_err(unreadable)?
                .application_name("bookstore")
                // A startup parameter that poolers refuse. It is set afterwards.
                .extra_float_digits(None)
                .statement_cache_capacity(STATEMENT_CACHE)
                .disable_statement_logging();
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
        Ok(Self {
            engine,
            log,
            command_timeout,
            is_read_only: Arc::default(),
            unshared_at: Arc::default(),
            makes_file: url.contains("mode=rwc"),
        })
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
    /// [`StoreError::Unavailable`] for every reason that passes, since no statement has run yet;
    /// [`StoreError::Unsuitable`] if the database lacks what a session needs.
    pub(crate) async fn open(&self, access: Access) -> Result<Connection, StoreError> {
        let driver = match &self.engine {
            EngineOptions::Postgres(options) => {
                self.open_postgres(options, access).await.map_err(refused)?
            }
            EngineOptions::Sqlite(options) => {
                self.create_sqlite_file();
                open_sqlite(options, access).await.map_err(unavailable)?
            }
        };
        Ok(Connection::new(driver, access, self.log.clone(), self.command_timeout))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that opens connections")]
    async fn open_postgres(
        &self,
        options: &PgConnectOptions,
        access: Access,
    ) -> Result<Driver, Refusal> {
        let mut session: PgConnection = options.connect().await?;
        let timeout = self.command_timeout.as_millis().max(1);
        let read_only = access == Access::ReadOnly;
        let session_use = SessionUse::Service { read_only, timeout };
        let opened = settings::apply(&mut session, session_use).await?;
        self.is_read_only.store(opened.is_read_only, Ordering::Release);
        if opened.is_read_only && !read_only {
            let _ = session.close().await;
            return Err(Refusal::Unsuitable(settings::READ_ONLY.to_owned()));
        }
        let mut unshared_at = self.unshared_at.lock().await;
        if unshared_at.is_none_or(|at| at.elapsed() >= UNSHARED_FOR) {
            let other = || async { options.connect().await };
            pooler::refuse_shared_sessions(&mut session, opened.process, other).await?;
            *unshared_at = Some(Instant::now());
        }
        drop(unshared_at);
        let Opened { process, system, started, .. } = opened;
        Ok(Driver::Postgres(Box::new(session), ServerIdentity { process, system, started }))
    }

    /// Whether an operator has made transactions read-only by default, as the last session has
    /// found.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Acquire)
    }

    /// Records that an operator has made transactions read-only by default.
    pub(crate) fn note_read_only(&self) {
        self.is_read_only.store(true, Ordering::Release);
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
        match &self.engine {
            EngineOptions::Postgres(options) => {
                let options = (**options).clone().application_name("bookstore-migrate");
                let mut session = options.connect().await.map_err(unavailable)?;
                settings::apply(&mut session, SessionUse::Migrations).await.map_err(refused)?;
                Ok(PlainConnection::Postgres(Box::new(session)))
            }
            EngineOptions::Sqlite(options) => {
                self.create_sqlite_file();
                let session = options.connect().await.map_err(unavailable)?;
                Ok(PlainConnection::Sqlite(Box::new(session)))
            }
        }
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
    let opened = opened.map_err(unavailable)?;
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

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))
}

fn refused(refusal: Refusal) -> StoreError {
    match refusal {
        Refusal::Failed(error) => unavailable(error),
        Refusal::Unsuitable(reason) => StoreError::Unsuitable(reason),
    }
}

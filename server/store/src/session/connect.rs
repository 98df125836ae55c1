//! Opens connections to a database, with the settings of their sessions. No other file does.

mod tls;

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use sea_orm::{DbBackend, DbErr, RuntimeErr};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, SqliteConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    error::StoreError,
    session::{
        condition::Condition,
        connection::{
            Connection,
            driver::{Access, Driver, ServerIdentity},
        },
        interrupt::Interrupt,
        pooler::{self, UnsharedCheck},
        settings::{self, Opened, Refusal, SessionUse},
        sqlite_file::{SqliteFile, is_full},
        sqlite_refusal,
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
    /// What the sessions have found out.
    condition: Arc<Condition>,
    /// Whether the sessions are this program's alone.
    unshared: Arc<UnsharedCheck>,
    /// Whether the URL wants SQLite's file to be made.
    makes_file: bool,
}

#[derive(Clone)]
enum EngineOptions {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>, Arc<SqliteFile>),
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
            let file = Arc::new(SqliteFile::new(options.get_filename().to_owned()));
            EngineOptions::Sqlite(Box::new(options), file)
        } else {
            let mut options = PgConnectOptions::from_str(url).map_err(unreadable)?;
            let is_named = options.get_application_name().is_some_and(|name| !name.is_empty());
            if !is_named {
                options = options.application_name(APPLICATION_NAME);
            }
            let options = options
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
            EngineOptions::Sqlite(options, _) => DatabaseAttributes {
                system: "sqlite",
                address: None,
                namespace: Some(options.get_filename().display().to_string().into()),
            },
        };
        let log = Arc::new(Statements::new(log, database));
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        let mode = parameters.split('&').filter_map(|pair| pair.strip_prefix("mode=")).next_back();
        Ok(Self {
            engine,
            log,
            command_timeout,
            condition: Arc::default(),
            unshared: Arc::default(),
            makes_file: mode == Some("rwc"),
        })
    }

    /// The engine, by the URL's scheme.
    pub(crate) fn backend(&self) -> DbBackend {
        match self.engine {
            EngineOptions::Postgres(_) => DbBackend::Postgres,
            EngineOptions::Sqlite(..) => DbBackend::Sqlite,
        }
    }

    /// The same connector without a statement log, for the service's own queries.
    pub(crate) fn quiet(&self) -> Self {
        let (log, database) = (StatementLog::default(), self.log.database.clone());
        Self { log: Arc::new(Statements::new(log, database)), ..self.clone() }
    }

    /// Opens a session with this access.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for every reason that passes, since no statement has run yet;
    /// [`StoreError::Unsuitable`] if the database lacks what a session needs.
    pub(crate) async fn open(&self, access: Access) -> Result<Connection, StoreError> {
        let connection = |driver| {
            let condition = self.condition.clone();
            Connection::new(driver, access, self.log.clone(), self.command_timeout, condition)
        };
        match &self.engine {
            EngineOptions::Postgres(options) => {
                let driver = self.open_postgres(options, access).await.map_err(refused)?;
                Ok(connection(driver))
            }
            EngineOptions::Sqlite(options, file) => {
                let before = file.check_before_open().map_err(StoreError::Unsuitable)?;
                let options = self.for_opening(options, file)?;
                let opened = open_sqlite(options, access).await;
                let driver = opened.map_err(|error| not_opened(file, error))?;
                let file = file.session(before).map_err(StoreError::Unsuitable)?;
                Ok(connection(driver).with_file(file))
            }
        }
    }

    async fn open_postgres(
        &self,
        options: &PgConnectOptions,
        access: Access,
    ) -> Result<Driver, Refusal> {
        let mut session: PgConnection = tls::connect(options).await?;
        let timeout = self.command_timeout.as_millis().max(1);
        let read_only = access == Access::ReadOnly;
        let session_use = SessionUse::Service { read_only, timeout };
        let opened = settings::apply(&mut session, session_use).await?;
        self.condition.set_read_only(opened.is_read_only);
        if opened.is_read_only && !read_only {
            let _ = session.close().await;
            return Err(Refusal::Unsuitable(settings::READ_ONLY.to_owned()));
        }
        let other = || tls::connect(options);
        let check = pooler::refuse_shared_sessions(&mut session, opened.process, other);
        self.unshared.pass(check).await?;
        let Opened { process, system, started, .. } = opened;
        Ok(Driver::Postgres(Box::new(session), ServerIdentity { process, system, started }))
    }

    /// What the sessions have found out.
    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Why nothing can be written, as far as that is known without a question to the database: an
    /// operator's read-only mode, or what has happened to SQLite's file.
    pub(crate) fn refuses_writes(&self) -> Option<String> {
        match &self.engine {
            EngineOptions::Postgres(_) => {
                self.condition.is_read_only().then(|| settings::READ_ONLY.to_owned())
            }
            EngineOptions::Sqlite(_, file) => file.refuses_writes(),
        }
    }

    /// Whether the name of SQLite's file leads to another file than the sessions have, or to none.
    pub(crate) fn has_moved(&self) -> bool {
        match &self.engine {
            EngineOptions::Postgres(_) => false,
            EngineOptions::Sqlite(_, file) => file.has_moved(),
        }
    }

    /// Whether the file system of SQLite's file has no room; `false` on PostgreSQL, which doesn't
    /// say.
    pub(crate) fn is_file_system_full(&self) -> bool {
        self.sqlite_file().is_some_and(is_full)
    }

    /// The file of a SQLite database; `None` on PostgreSQL.
    pub(crate) fn sqlite_file(&self) -> Option<&Path> {
        match &self.engine {
            EngineOptions::Postgres(_) => None,
            EngineOptions::Sqlite(_, file) => Some(file.path()),
        }
    }

    /// The options of a session that is opened now. A file that was there is not created again:
    /// the empty one would be answered from.
    ///
    /// # Errors
    /// [`StoreError::Unsuitable`] if a new file cannot be created.
    fn for_opening(
        &self,
        options: &SqliteConnectOptions,
        file: &SqliteFile,
    ) -> Result<SqliteConnectOptions, StoreError> {
        if file.was_opened() {
            return Ok(options.clone().create_if_missing(false));
        }
        if let Err(error) = self.create_sqlite_file()
            && let Some(reason) = sqlite_refusal::of_creation(file.path(), &error)
        {
            return Err(StoreError::Unsuitable(reason));
        }
        Ok(options.clone())
    }

    /// Creates the file of a SQLite database with mode 0600 if the URL asks for a new one: it
    /// holds password hashes. SQLite gives the WAL file the same mode. A file that exists is an error
    /// too, which says nothing of the database.
    fn create_sqlite_file(&self) -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new();
        file.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        match self.sqlite_file().filter(|_| self.makes_file) {
            Some(path) => file.open(path).map(drop),
            None => Ok(()),
        }
    }

    /// Whether the first session would create the database: a SQLite file that is missing in a
    /// directory that exists, where the URL asks for a new file.
    pub(crate) fn is_to_be_created(&self) -> bool {
        let is_new = |path: &Path| {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            !path.exists() && directory.is_none_or(Path::is_dir)
        };
        self.makes_file && self.sqlite_file().is_some_and(is_new)
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
                let mut options = (**options).clone();
                if options.get_application_name() == Some(APPLICATION_NAME) {
                    options = options.application_name("bookstore-migrate");
                }
                let mut session = tls::connect(&options).await.map_err(unavailable)?;
                settings::apply(&mut session, SessionUse::Migrations).await.map_err(refused)?;
                Ok(PlainConnection::Postgres(Box::new(session)))
            }
            EngineOptions::Sqlite(options, file) => {
                let options = self.for_opening(options, file)?;
                let session = options.connect().await.map_err(|error| not_opened(file, error))?;
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
async fn open_sqlite(options: SqliteConnectOptions, access: Access) -> Result<Driver, sqlx::Error> {
    // Readers too open the file for writing, since SQLite's write-ahead log requires it.
    // `query_only` makes the session read-only.
    let options = match access {
        Access::ReadWrite => options,
        Access::ReadOnly => options.pragma("query_only", "on"),
    };
    let mut session = options.connect().await?;
    // Opens the write-ahead log.
    sqlx::raw_sql("SELECT count(*) FROM sqlite_schema").execute(&mut session).await?;
    let interrupt = Interrupt::install(&mut session).await?;
    Ok(Driver::Sqlite(Box::new(session), interrupt))
}

/// The error of a SQLite file that is not opened. Before the first session the reason is a mistake
/// of the URL or of the file, and it is told; afterwards it may pass.
fn not_opened(file: &SqliteFile, error: sqlx::Error) -> StoreError {
    let reason = || sqlite_refusal::of_opening(file.path(), &error);
    match (!file.was_opened()).then(reason).flatten() {
        Some(reason) => StoreError::Unsuitable(reason),
        None => unavailable(error),
    }
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

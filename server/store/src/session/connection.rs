//! The one connection type: a session of PostgreSQL or SQLite that runs SeaORM's statements.
//!
//! A transaction is a state of it, entered and left by `transaction.rs` alone.

mod eviction;
mod position;
mod server;
mod state;
mod want;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) use self::{server::Server, state::TransactionState};
use self::{
    state::ConnectionState,
    want::{EFFECT, ROWS, Want},
};
use crate::{
    deadline::Deadline,
    error::{DEADLINE_PASSED, NO_ROOM, READ_TIMEOUT, breaks_connection},
    position::Position,
    session::{
        interrupt::Interrupt,
        rows::{Meter, Reading, Rows, Take},
        statement_log::{Statements, is_late},
    },
};

/// What a session may do; held by the database's own setting too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes.
    ReadWrite,
    /// Reads only.
    ReadOnly,
}

/// A session of either engine.
#[derive(Debug)]
pub(crate) enum Driver {
    /// PostgreSQL, with the server that holds the session.
    Postgres(Box<PgConnection>, Server),
    /// SQLite, with the switch that ends a statement that runs too long.
    Sqlite(Box<SqliteConnection>, Interrupt),
}

/// A connection to the database.
///
/// It runs one statement at a time. Dropping the future of a statement leaves the
/// connection usable, but the statement goes on in the database until its timeout.
#[derive(Debug)]
pub struct Connection {
    backend: DbBackend,
    server: Option<Server>,
    access: Access,
    driver: Mutex<Driver>,
    log: Arc<Statements>,
    command_timeout: Duration,
    state: ConnectionState,
    in_flight: AtomicBool,
    broken: AtomicBool,
    /// Whether a statement was prepared for a schema that is no more.
    stale: AtomicBool,
    deadline: std::sync::Mutex<Deadline>,
    membership: Option<eviction::PoolMembership>,
    /// The position that the last question has seen, if that is known.
    seen: std::sync::Mutex<Option<Position>>,
    /// After which the statements of a read are left.
    read_end: std::sync::Mutex<Deadline>,
    /// Counts the rows of the call that the connection is checked out for.
    meter: std::sync::Mutex<Option<Arc<dyn Meter>>>,
}

impl Connection {
    pub(crate) fn new(
        driver: Driver,
        access: Access,
        log: Arc<Statements>,
        command_timeout: Duration,
    ) -> Self {
        let (backend, server) = match driver {
            Driver::Postgres(_, server) => (DbBackend::Postgres, Some(server)),
            Driver::Sqlite(..) => (DbBackend::Sqlite, None),
        };
        Self {
            backend,
            server,
            access,
            driver: Mutex::new(driver),
            log,
            command_timeout,
            state: ConnectionState::default(),
            in_flight: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            deadline: std::sync::Mutex::new(Deadline::NONE),
            membership: None,
            seen: std::sync::Mutex::default(),
            read_end: std::sync::Mutex::default(),
            meter: std::sync::Mutex::default(),
        }
    }

    /// What the session may do.
    pub fn access(&self) -> Access {
        self.access
    }

    pub(crate) fn state(&self) -> TransactionState {
        self.state.get()
    }

    pub(crate) fn set_state(&self, state: TransactionState) {
        self.state.set(state);
    }

    /// The connection is checked out: what was read before belongs to another call.
    pub(crate) fn checked_out(&self) {
        *self.seen() = None;
        self.set_meter(None);
        self.set_read_end(Deadline::NONE);
    }

    /// Statements of the read that begins now are left once this has passed.
    pub(crate) fn set_read_end(&self, end: Deadline) {
        *self.read_end.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = end;
    }

    /// When the read ends that the connection is checked out for.
    pub(crate) fn read_end(&self) -> Deadline {
        *self.read_end.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// From now on the rows that are read are counted there.
    pub(crate) fn set_meter(&self, meter: Option<Arc<dyn Meter>>) {
        *self.meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = meter;
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// From now on no statement begins after this deadline.
    pub(crate) fn set_deadline(&self, deadline: Deadline) {
        *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = deadline;
    }

    pub(crate) fn deadline(&self) -> Deadline {
        *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How long a statement may take that begins now.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.deadline().remaining(self.command_timeout)
    }

    /// The longest that a statement may take.
    pub(crate) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    /// Tells of statements.
    pub(crate) fn log(&self) -> &Statements {
        &self.log
    }

    /// The server that holds the session; SQLite has none.
    pub(crate) fn server(&self) -> Option<Server> {
        self.server
    }

    /// Whether a statement's future was dropped before its answer came.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Whether the session has ended.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Whether the last transaction met a statement that was prepared for another schema;
    /// forgets it.
    pub(crate) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    /// Takes the driver for one exchange; the guard notes whether it came to its end.
    pub(crate) async fn exchange(&self) -> Exchange<'_> {
        let driver = self.driver.lock().await;
        self.in_flight.store(true, Ordering::Release);
        if let Driver::Sqlite(_, interrupt) = &*driver {
            interrupt.arm(self.statement_timeout());
        }
        Exchange { connection: self, driver }
    }

    /// Makes sure that an abandoned statement has ended and the session answers.
    pub(crate) async fn recover(&self) -> Result<(), DbErr> {
        let mut exchange = self.exchange().await;
        let result = match &mut *exchange.driver {
            // What is left of the last answer is read first.
            Driver::Postgres(postgres, _) => {
                sqlx::raw_sql("SELECT 1").execute(&mut **postgres).await.map(drop)
            }
            Driver::Sqlite(sqlite, interrupt) => {
                // No caller waits for it: SQLite can end it at once.
                interrupt.arm(Duration::ZERO);
                sqlite.ping().await
            }
        };
        exchange.end(result)
    }

    /// Tells the database that the session is over.
    pub(crate) async fn close(self) {
        // The session ends whether or not the message arrives.
        let _ = match self.driver.into_inner() {
            Driver::Postgres(postgres, _) => postgres.close().await,
            Driver::Sqlite(sqlite, _) => sqlite.close().await,
        };
    }

    fn check_deadline(&self) -> Result<(), DbErr> {
        match self.deadline().has_passed() {
            true => Err(DbErr::Custom(DEADLINE_PASSED.into())),
            false => Ok(()),
        }
    }

    fn check_access(&self) -> Result<(), DbErr> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(DbErr::Custom("a read-only session can't execute".into())),
        }
    }

    /// Reads rows until they are larger than `most` bytes together, so that memory is bounded
    /// whatever the rows hold.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn query_up_to(&self, statement: Statement, most: usize) -> Result<Rows, DbErr> {
        let (description, statement) = self.with_position(statement);
        let (exchange, mut read) =
            self.prepared(&description, &statement, ROWS, Take::Bytes(most)).await?;
        self.note_position(&mut read);
        let no_room = read.as_ref().is_ok_and(|read| read.no_room);
        if no_room || read.as_ref().is_ok_and(|read| read.cut) {
            // The rest of the answer is still to come: the connection is in use until then.
            drop(exchange);
            if no_room {
                return Err(DbErr::Custom(NO_ROOM.into()));
            }
            return read.map_err(|error| DbErr::Custom(error.to_string()));
        }
        exchange.end(read)
    }

    /// Runs a prepared statement.
    async fn prepared<T>(
        &self,
        description: &str,
        statement: &Statement,
        want: Want<T>,
        take: Take,
    ) -> Result<(Exchange<'_>, Result<T, sqlx::Error>), DbErr> {
        self.check_deadline()?;
        let limit = self.statement_timeout();
        let mut exchange = self.exchange().await;
        let reading = Reading { take, meter: self.meter() };
        let run = want.run(&mut exchange.driver, statement, reading.clone());
        let run = self.unless_evicted(Duration::ZERO, run);
        let mut result = self.log.around(description, limit, self.read_end(), run).await;
        // The schema changed under a prepared statement (SQLSTATE 0A000). Outside a
        // transaction nothing is lost by preparing it anew, once.
        if self.state() == TransactionState::Idle && result.as_ref().is_err_and(is_stale_plan) {
            if let Driver::Postgres(postgres, _) = &mut *exchange.driver {
                let _ = postgres.clear_cached_statements().await;
            }
            let run = want.run(&mut exchange.driver, statement, reading);
            let run = self.unless_evicted(Duration::ZERO, run);
            result = self.log.around(description, limit, self.read_end(), run).await;
        }
        Ok((exchange, result))
    }
}

/// The driver during one exchange with the database.
pub(crate) struct Exchange<'a> {
    connection: &'a Connection,
    pub(crate) driver: MutexGuard<'a, Driver>,
}

impl Exchange<'_> {
    /// Notes the end: the answer was read, and what it says of the session.
    pub(crate) fn end<T>(self, result: Result<T, sqlx::Error>) -> Result<T, DbErr> {
        if result.as_ref().is_err_and(is_late) {
            // It may still run: the connection is in use until it has ended.
            return Err(DbErr::Custom(READ_TIMEOUT.into()));
        }
        self.connection.in_flight.store(false, Ordering::Release);
        if let Driver::Sqlite(_, interrupt) = &*self.driver {
            interrupt.disarm();
        }
        result.map_err(|error| {
            if breaks_connection(&error) {
                self.connection.broken.store(true, Ordering::Release);
            }
            if is_stale_plan(&error) {
                self.connection.stale.store(true, Ordering::Release);
            }
            if self.connection.state() == TransactionState::Transaction {
                self.connection.set_state(TransactionState::Failed);
            }
            DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
        })
    }
}

/// Where there was no room for all rows, the rest of the answer is still to come: the exchange is
/// left open, and the connection is in use until it has been read.
fn room(read: &Result<Rows, sqlx::Error>) -> Result<(), DbErr> {
    match read.as_ref().is_ok_and(|read| read.no_room) {
        true => Err(DbErr::Custom(NO_ROOM.into())),
        false => Ok(()),
    }
}

fn is_stale_plan(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "0A000")
}

#[async_trait::async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.check_access()?;
        let (exchange, effect) =
            self.prepared(&statement.sql, &statement, EFFECT, Take::All).await?;
        exchange.end(effect)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.check_access()?;
        self.check_deadline()?;
        let limit = self.statement_timeout();
        let mut exchange = self.exchange().await;
        let text = sqlx::raw_sql(AssertSqlSafe(sql));
        let result = match &mut *exchange.driver {
            Driver::Postgres(postgres, _) => {
                let run = async { text.execute(&mut **postgres).await.map(Into::into) };
                let run = self.unless_evicted(Duration::ZERO, run);
                self.log.around(sql, limit, self.read_end(), run).await
            }
            Driver::Sqlite(sqlite, _) => {
                let run = async { text.execute(&mut **sqlite).await.map(Into::into) };
                self.log.around(sql, limit, self.read_end(), run).await
            }
        };
        exchange.end(result)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (description, statement) = self.with_position(statement);
        let (exchange, mut read) = self.prepared(&description, &statement, ROWS, Take::One).await?;
        self.note_position(&mut read);
        room(&read)?;
        Ok(exchange.end(read)?.rows.pop().map(|(row, _)| row))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (description, statement) = self.with_position(statement);
        let (exchange, mut read) = self.prepared(&description, &statement, ROWS, Take::All).await?;
        self.note_position(&mut read);
        room(&read)?;
        Ok(exchange.end(read)?.rows.into_iter().map(|(row, _)| row).collect())
    }
}

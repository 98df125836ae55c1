//! The one connection type: a session of PostgreSQL or SQLite that runs SeaORM's statements.
//!
//! A transaction is a state of the connection. Only `transaction/commands.rs` changes it.

pub(crate) mod autocommit;
mod committing;
pub(crate) mod driver;
mod eviction;
pub(crate) mod membership;
mod position;
pub(crate) mod position_column;
mod purpose;
mod query;
mod read;
mod session_position;
pub(crate) mod state;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sqlx::AssertSqlSafe;
use tokio::sync::{Mutex, MutexGuard};

use self::{
    autocommit::{Autocommit, AutocommitState},
    driver::{Access, Driver, ServerIdentity},
    membership::PoolMembership,
    purpose::EFFECT,
    query::{SqlQuery, is_stale_plan, parts},
    session_position::SessionPosition,
    state::{ConnectionState, TransactionState},
};
use crate::{
    cause::{Cause, DEADLINE_PASSED, READ_TIMEOUT, breaks_connection},
    deadline::Deadline,
    session::{
        condition::Condition,
        rows::{Meter, Take},
        sqlite_file::SessionFile,
        statement_log::{Statements, is_late},
    },
};

/// A connection to the database.
///
/// It runs one statement at a time. Dropping the future of a statement leaves the connection
/// usable, but the statement continues in the database until its timeout.
#[derive(Debug)]
pub struct Connection {
    backend: DbBackend,
    server: Option<ServerIdentity>,
    access: Access,
    /// The files that a session of SQLite has open. Dropped before the driver closes them.
    file: Option<SessionFile>,
    driver: Mutex<Driver>,
    log: Arc<Statements>,
    command_timeout: Duration,
    /// What this session and others have found out about the database.
    condition: Arc<Condition>,
    state: ConnectionState,
    in_flight: AtomicBool,
    broken: AtomicBool,
    /// Whether a prepared statement was planned for an older schema.
    stale: AtomicBool,
    deadline: std::sync::Mutex<Deadline>,
    membership: Option<PoolMembership>,
    position: SessionPosition,
    autocommit: Autocommit,
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
        condition: Arc<Condition>,
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
            condition,
            file: None,
            state: ConnectionState::default(),
            in_flight: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            deadline: std::sync::Mutex::new(Deadline::NONE),
            membership: None,
            position: SessionPosition::default(),
            autocommit: Autocommit::default(),
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

    /// Forgets what the previous call has read. The pool calls it at each checkout.
    pub(crate) fn reset(&self) {
        self.position.forget();
        self.autocommit.set(AutocommitState::Off);
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

    pub(crate) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Sets the deadline after which no statement begins.
    pub(crate) fn set_deadline(&self, deadline: Deadline) {
        *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = deadline;
    }

    pub(crate) fn deadline(&self) -> Deadline {
        *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The timeout of a statement that begins now.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.deadline().remaining(self.command_timeout)
    }

    /// The greatest timeout of a statement.
    pub(crate) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    /// Records statements.
    pub(crate) fn log(&self) -> &Statements {
        &self.log
    }

    /// The server that runs the session; `None` on SQLite.
    pub(crate) fn server(&self) -> Option<ServerIdentity> {
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

    /// Whether the last transaction used a statement that was planned for an older schema.
    /// Resets the flag.
    pub(crate) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    /// Takes the driver for one exchange. A guard that is dropped before [`Exchange::end`] leaves
    /// the connection in flight.
    pub(crate) async fn exchange(&self) -> Exchange<'_> {
        let driver = self.driver.lock().await;
        self.in_flight.store(true, Ordering::Release);
        if let Driver::Sqlite(_, interrupt) = &*driver {
            interrupt.arm(self.statement_timeout());
        }
        Exchange { connection: self, driver }
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
}

/// The driver for the time of one exchange with the database.
pub(crate) struct Exchange<'a> {
    connection: &'a Connection,
    pub(crate) driver: MutexGuard<'a, Driver>,
}

impl Exchange<'_> {
    /// Ends the exchange. Records whether the session is broken or its transaction has failed.
    pub(crate) fn end<T>(self, result: Result<T, sqlx::Error>) -> Result<T, DbErr> {
        if result.as_ref().is_err_and(is_late) {
            // It may still run: the connection is in use until it has ended.
            return Err(DbErr::Custom(READ_TIMEOUT.into()));
        }
        self.connection.in_flight.store(false, Ordering::Release);
        self.connection.autocommit.ends(&result);
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
            let error = DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)));
            if Cause::of(&error) == Cause::DiskFull {
                self.connection.condition.set_disk_full(true);
            }
            error
        })
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.check_access()?;
        let (sql, values) = parts(statement);
        let (exchange, effect) =
            self.prepared(sql.clone().as_str(), sql, &values, EFFECT, Take::All).await?;
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
        Ok(self.query(SqlQuery::of(statement), Take::One).await?.pop().map(|(row, _)| row))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = self.query(SqlQuery::of(statement), Take::All).await?;
        Ok(rows.into_iter().map(|(row, _)| row).collect())
    }
}

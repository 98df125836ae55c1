//! The commands that begin and end a transaction. No other file sends them.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, IsolationLevel, QueryResult, RuntimeErr};
use sqlx::{AssertSqlSafe, Connection as _, Either};

use crate::{
    cause::may_have_committed,
    deadline::Deadline,
    error::StoreError,
    position::{IS_ASYNCHRONOUS, POSITION, PRIMARY_LSN_TEXT, Position},
    session::{
        connection::{
            Connection, autocommit::COMMIT_GRACE, driver::Driver, state::TransactionState,
        },
        settings::lock_timeout,
    },
};

/// How long a write's transaction may be idle between two statements before the server ends it: this
/// program is cut off or hangs.
pub(crate) const LONGEST_IDLE: Duration = Duration::from_secs(10);

/// How much longer than its own times a transaction may be idle before the server ends its session.
const IDLE_MARGIN: Duration = Duration::from_secs(1);

/// Commits and reads the position, in one message.
static COMMIT: LazyLock<String> =
    LazyLock::new(|| format!("COMMIT; {POSITION}, {IS_ASYNCHRONOUS}"));

/// The same on a session that a primary is known to run, which costs less.
static COMMIT_ON_PRIMARY: LazyLock<String> =
    LazyLock::new(|| format!("COMMIT; {PRIMARY_LSN_TEXT}, {IS_ASYNCHRONOUS}"));

/// The number of commits of this process on SQLite, which is the position there.
static SQLITE_COMMITS: AtomicU64 = AtomicU64::new(0);

/// The position of a commit that has just succeeded on SQLite.
pub(super) fn position_of_sqlite_commit() -> Position {
    Position::of_sqlite(SQLITE_COMMITS.fetch_add(1, Ordering::Relaxed) + 1)
}

/// How a transaction begins.
pub(crate) struct Begin {
    /// The isolation level. SQLite is always serializable.
    pub isolation: IsolationLevel,
    /// Whether it only reads.
    pub read_only: bool,
    /// An advisory lock to take in the same round trip. SQLite needs none, since it has one
    /// writer at a time.
    pub lock: Option<i64>,
    /// The longest time between two statements.
    pub idle: Duration,
}

impl Connection {
    /// Begins a transaction. Its statements end by the connection's deadline.
    pub(crate) async fn begin(&self, begin: Begin) -> Result<(), StoreError> {
        if self.deadline().has_passed() {
            return Err(StoreError::DeadlineExceeded);
        }
        let Begin { isolation, read_only, lock, idle } = begin;
        let sql = match self.get_database_backend() {
            DbBackend::Postgres => {
                // Rounded up, so that the deadline has passed when the timeout fires. 0 would
                // mean no timeout.
                let statement = self.statement_timeout().as_millis() + 1;
                // If this program is cut off, its locks are free again soon after the time in which
                // it would have sent the next statement.
                let idle = idle.as_millis().min(statement) + IDLE_MARGIN.as_millis();
                let mut sql = format!(
                    "BEGIN ISOLATION LEVEL {isolation} {}; \
                     SET LOCAL idle_in_transaction_session_timeout = {idle}; \
                     SET LOCAL statement_timeout = {statement}",
                    // A node that has become a replica refuses READ WRITE here, before any
                    // statement has run.
                    if read_only { "READ ONLY" } else { "READ WRITE" },
                );
                if read_only {
                    // A session that writes has this timeout from the beginning.
                    let timeout = lock_timeout(self.command_timeout().as_millis());
                    sql += &format!("; SET LOCAL lock_timeout = {timeout}");
                }
                if let Some(lock) = lock {
                    sql += &format!("; SELECT pg_advisory_xact_lock({lock})");
                }
                sql
            }
            _ if read_only => "BEGIN".to_owned(),
            // A transaction that reads first may fail to get the write lock later.
            _ => "BEGIN IMMEDIATE".to_owned(),
        };
        // Set before the command is sent: after an error or a dropped future a rollback is due.
        self.set_state(TransactionState::Transaction);
        if let Err(error) = self.command(&sql).await {
            let is_replica = is_not_supported(&error);
            self.rollback().await;
            return Err(match is_replica {
                true => StoreError::Unavailable(error),
                false => error.into(),
            });
        }
        Ok(())
    }

    /// Sets a savepoint. Releases another one, and those set after it, first.
    pub(crate) async fn save(&self, release: Option<&str>, name: &str) -> Result<(), StoreError> {
        let release = release.map(|name| format!("RELEASE SAVEPOINT {name}; ")).unwrap_or_default();
        Ok(self.command(&format!("{release}SAVEPOINT {name}")).await?)
    }

    /// Rolls back to a savepoint, also after a failed statement.
    pub(crate) async fn roll_back_to(&self, name: &str) -> Result<(), StoreError> {
        self.command(&format!("ROLLBACK TO SAVEPOINT {name}")).await?;
        self.set_state(TransactionState::Transaction);
        Ok(())
    }

    /// Sends a command, on read-only sessions too.
    async fn command(&self, sql: &str) -> Result<(), DbErr> {
        let limit = self.statement_timeout();
        let mut exchange = self.exchange().await;
        let text = sqlx::raw_sql(AssertSqlSafe(sql));
        let result = match &mut *exchange.driver {
            Driver::Postgres(postgres, _) => {
                let run = self.unless_evicted(Duration::ZERO, text.execute(&mut **postgres));
                self.log().around(sql, limit, self.read_end(), run).await.map(drop)
            }
            Driver::Sqlite(sqlite, _) => self
                .log()
                .around(sql, limit, self.read_end(), text.execute(&mut **sqlite))
                .await
                .map(drop),
        };
        exchange.end(result)
    }

    /// Commits and returns the position from which on reads see the changes; `None` if it is
    /// unknown.
    pub(crate) async fn commit(&self) -> Result<Option<Position>, StoreError> {
        if self.state() != TransactionState::Transaction {
            // PostgreSQL answers COMMIT of a failed transaction with a rollback and no error.
            self.rollback().await;
            return Err(StoreError::internal("a statement failed and the operation went on"));
        }
        if self.is_evicted() {
            // The node isn't the primary any more, or that is unknown: nothing is written there.
            self.rollback().await;
            return Err(StoreError::Unavailable(DbErr::Custom(
                "the primary is another one".into(),
            )));
        }
        if let Err(error) = self.check_file() {
            self.rollback().await;
            return Err(error);
        }
        // No deadline: the outcome of a commit is worth a wait beyond it.
        self.set_deadline(Deadline::NONE);
        let limit = self.command_timeout();
        let mut exchange = self.exchange().await;
        let outcome = match &mut *exchange.driver {
            Driver::Postgres(postgres, server) => {
                // One round trip. The position is read after the commit, or it would be before
                // the commit record.
                let (server, timeline) = (*server, self.primary_timeline());
                let sql = if timeline.is_some() { &COMMIT_ON_PRIMARY } else { &COMMIT };
                let commit = async {
                    let mut answers =
                        sqlx::raw_sql(AssertSqlSafe(sql.as_str())).fetch_many(&mut **postgres);
                    match answers.next().await {
                        Some(Ok(_)) => Ok(read_position(answers).await),
                        Some(Err(error)) => Err(error),
                        None => Err(sqlx::Error::Protocol("COMMIT was not answered".into())),
                    }
                };
                self.log()
                    .around(
                        "COMMIT",
                        limit,
                        Deadline::NONE,
                        self.unless_evicted(COMMIT_GRACE, commit),
                    )
                    .await
                    .map(|read| {
                        read.map(|row| row.and_then(|row| self.learn(server, timeline, &row)))
                    })
            }
            Driver::Sqlite(sqlite, _) => {
                let commit = sqlx::raw_sql("COMMIT").execute(&mut **sqlite);
                self.log()
                    .around("COMMIT", limit, Deadline::NONE, commit)
                    .await
                    .map(|_| Ok(Some(position_of_sqlite_commit())))
            }
        };
        match outcome {
            Ok(position) => {
                self.set_state(TransactionState::Idle);
                // The commit succeeded, even if reading the position failed.
                let position = exchange.end(position).unwrap_or_default();
                match self.check_file() {
                    Ok(()) => Ok(position),
                    Err(error) => {
                        Err(StoreError::CommitOutcomeUnknown(DbErr::Custom(error.to_string())))
                    }
                }
            }
            Err(error) => {
                let lost = may_have_committed(&error);
                let error = exchange.end::<()>(Err(error)).err();
                let error = error.unwrap_or_else(|| DbErr::Custom("COMMIT failed".into()));
                if lost {
                    return Err(StoreError::CommitOutcomeUnknown(error));
                }
                self.rollback().await;
                Err(error.into())
            }
        }
    }

    /// Drops all prepared statements of the session.
    pub(crate) async fn forget_statements(&self) {
        let mut exchange = self.exchange().await;
        let result = match &mut *exchange.driver {
            Driver::Postgres(postgres, _) => postgres.clear_cached_statements().await,
            Driver::Sqlite(sqlite, _) => sqlite.clear_cached_statements().await,
        };
        if let Err(error) = exchange.end(result) {
            tracing::warn!(%error, "forgetting prepared statements failed");
        }
    }

    /// Rolls back. If that fails, the pool closes the connection.
    pub(crate) async fn rollback(&self) {
        self.set_deadline(Deadline::NONE);
        self.set_read_end(Deadline::NONE);
        if self.is_broken() {
            // The session has ended, and the database rolls back by itself.
            return;
        }
        let limit = self.command_timeout();
        let mut exchange = self.exchange().await;
        let sql = "ROLLBACK";
        let result = match &mut *exchange.driver {
            Driver::Postgres(postgres, _) => {
                let rollback = sqlx::raw_sql(sql).execute(&mut **postgres);
                let rollback = self.unless_evicted(Duration::ZERO, rollback);
                self.log().around(sql, limit, Deadline::NONE, rollback).await.map(drop)
            }
            Driver::Sqlite(sqlite, _) => {
                let rollback = sqlx::raw_sql(sql).execute(&mut **sqlite);
                match self.log().around(sql, limit, Deadline::NONE, rollback).await {
                    // A full disk and some other errors have ended the transaction already
                    // (sqlite.org/lang_transaction.html).
                    Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("1") => {
                        Ok(())
                    }
                    other => other.map(drop),
                }
            }
        };
        match exchange.end(result) {
            Ok(()) => self.set_state(TransactionState::Idle),
            Err(error) => tracing::warn!(%error, "rolling back failed"),
        }
    }
}

/// Whether the database refuses what it doesn't support: for BEGIN, a transaction that writes on a
/// replica (SQLSTATE 0A000).
fn is_not_supported(error: &DbErr) -> bool {
    let DbErr::Query(RuntimeErr::SqlxError(error)) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "0A000")
}

/// Reads the answer to the query that follows COMMIT.
async fn read_position(
    answers: impl futures_util::Stream<
        Item = Result<Either<sqlx::postgres::PgQueryResult, sqlx::postgres::PgRow>, sqlx::Error>,
    >,
) -> Result<Option<QueryResult>, sqlx::Error> {
    let rows: Vec<_> = answers.try_collect().await?;
    Ok(rows.into_iter().find_map(Either::right).map(QueryResult::from))
}

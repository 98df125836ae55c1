//! The one place that begins and commits: every write runs here, in a task of its own.
//!
//! tonic drops a handler whose caller leaves, and a driver that is dropped while BEGIN or
//! COMMIT is on its way leaves a connection inside a transaction that the next user would
//! write into. A task runs to its end whoever leaves.

use futures_util::{StreamExt, TryStreamExt, future::BoxFuture};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, IsolationLevel};
use sqlx::{Connection as _, Either, Row};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tracing::Instrument;

use super::{
    claim::{self, Claim},
    connection::{Connection, Driver, State},
    deadline::Deadline,
    error::{StoreError, breaks_connection},
    pool::Lease,
    routing::Position,
};

/// The longest that a write waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A change of the database: a struct that holds checked values and knows how to apply them.
pub trait Operation: Send + Sync {
    /// The operation's name in spans, logs and metrics: `CreateBooks`.
    const NAME: &'static str;
    /// What is left to tell of it.
    type Output: Send;

    /// What takes long and needs no database, such as hashing a password: it runs before a
    /// connection is taken.
    fn prepare(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }

    /// Applies the change. It runs inside a transaction, and again from the start if that
    /// has to be repeated.
    fn apply(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;

    /// The values that must be free or must exist, so that a broken constraint can be told
    /// by the request's fields.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
}

/// A question to the database: a struct that holds checked values and knows how to read.
pub trait Query: Send + Sync {
    /// The query's name in spans, logs and metrics: `ListBooks`.
    const NAME: &'static str;
    /// What it reads.
    type Output: Send;

    /// Reads, on a session that can't write.
    fn fetch(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;

    /// What takes long and needs no database any more, such as comparing a password: it runs
    /// after the connection was given back.
    fn conclude(
        &self,
        read: Self::Output,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send {
        async { Ok(read) }
    }
}

/// An [`Operation`] with its encoder, without its types. The answer is encoded inside the
/// transaction: what can't be answered is not committed.
pub trait Write: Send + Sync {
    /// [`Operation::NAME`].
    fn name(&self) -> &'static str;

    /// [`Operation::prepare`].
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Applies the change and gives the encoded response.
    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;

    /// [`Operation::claims`].
    fn claims(&self) -> Vec<Claim>;
}

/// What the store has to know of the call that a write belongs to.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method, as in `/bookstore.v1.BookService/CreateBook`.
    pub method: &'static str,
    /// Who calls; none until callers are authenticated.
    pub principal: Option<String>,
    /// When the caller stops waiting.
    pub deadline: Deadline,
    /// How much of other transactions this one may see. SQLite is always serializable.
    pub isolation: IsolationLevel,
    /// The key under which the write happens once, with the mark of its request.
    pub idempotency: Option<IdempotencyKey>,
    /// Whether everything is to be rolled back at the end.
    pub validate_only: bool,
}

/// A key under which a write happens once.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The caller's key.
    pub key: uuid::Uuid,
    /// What the request must equal to be the same one.
    pub request_mark: [u8; 32],
}

/// A write that has happened.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The encoded response.
    pub answer: Vec<u8>,
    /// From which position on it can be seen; none if the connection ended right after.
    pub position: Option<Position>,
    /// The node that did it.
    pub node: Arc<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether the answer is that of an earlier call with the same key.
    pub replayed: bool,
}

/// Carries out a write on a connection of its own, whoever waits for it.
pub(super) async fn carry_out(
    lease: Lease,
    call: Call,
    write: Box<dyn Write>,
) -> Result<Committed, StoreError> {
    let span = tracing::info_span!("operation", operation = write.name());
    let task = tokio::spawn(
        async move {
            let mut attempts = 1;
            let mut result = attempt(&lease, &call, write.as_ref()).await;
            if result.is_err() && lease.take_stale() {
                // The schema changed under a prepared statement, and nothing was changed.
                lease.forget_statements().await;
                attempts += 1;
                result = attempt(&lease, &call, write.as_ref()).await;
            }
            let (answer, position) = result?;
            Ok(Committed { answer, position, node: lease.node(), attempts, replayed: false })
        }
        .instrument(span),
    );
    match task.await {
        Ok(result) => result,
        Err(failure) => Err(StoreError::internal(format!("the write's task ended: {failure}"))),
    }
}

/// Begin, apply, commit; or roll back and find out what was at fault.
async fn attempt(
    connection: &Connection,
    call: &Call,
    write: &dyn Write,
) -> Result<(Vec<u8>, Option<Position>), StoreError> {
    connection.set_deadline(call.deadline);
    connection.begin(call.isolation).await?;
    let applied = write.apply(connection).await;
    // Nobody waits any more, and has been told so: what was done shall not stay.
    let applied = match applied {
        Ok(_) if call.deadline.has_passed() => Err(StoreError::DeadlineExceeded),
        other => other,
    };
    match applied {
        Ok(answer) => {
            let position = connection.commit().await?;
            Ok((answer, position))
        }
        Err(error) => {
            connection.rollback().await;
            connection.set_deadline(call.deadline);
            Err(match claim::explain(connection, write.claims(), error).await {
                // It was the caller's time that the database held the statement to.
                StoreError::StatementTimeout(_) if call.deadline.has_passed() => {
                    StoreError::DeadlineExceeded
                }
                error => error,
            })
        }
    }
}

/// How many commits this process made on SQLite, where a position means nothing else.
static SQLITE_COMMITS: AtomicU64 = AtomicU64::new(0);

impl Connection {
    /// Begins a transaction whose statements keep the connection's deadline.
    async fn begin(&self, isolation: IsolationLevel) -> Result<(), StoreError> {
        if self.deadline().has_passed() {
            return Err(StoreError::DeadlineExceeded);
        }
        let sql = match self.get_database_backend() {
            DbBackend::Postgres => {
                // Zero would mean no timeout at all.
                let statement = self.statement_timeout().as_millis().max(1);
                // Before a statement's usual end, so that a caller learns that it was a lock;
                // a nearer deadline is left to end the statement itself.
                let lock = LOCK_TIMEOUT.min(self.command_timeout() * 9 / 10).as_millis();
                format!(
                    "BEGIN ISOLATION LEVEL {isolation}; \
                     SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}"
                )
            }
            // A transaction that begins by reading can't always go on to write.
            _ => "BEGIN IMMEDIATE".to_owned(),
        };
        // Noted before it is sent: whatever becomes of it, a rollback sets it right.
        self.set_state(State::Transaction);
        if let Err(error) = self.execute_unprepared(&sql).await {
            self.rollback().await;
            return Err(error.into());
        }
        Ok(())
    }

    /// Commits and says from which position on the changes can be seen.
    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        if self.state() != State::Transaction {
            // PostgreSQL answers COMMIT of a failed transaction with a rollback and no error.
            self.rollback().await;
            return Err(StoreError::internal("a statement failed and the operation went on"));
        }
        // The caller may have to wait for the outcome a little past its deadline, but it
        // is an outcome.
        self.set_deadline(Deadline::NONE);
        let limit = self.command_timeout();
        let mut exchange = self.exchange().await;
        let outcome = match &mut *exchange.driver {
            Driver::Postgres(postgres) => {
                // One round trip; the position is read after the commit, in a transaction
                // of its own, or it would miss the commit record.
                let sql = "COMMIT; SELECT pg_current_wal_flush_lsn()::text";
                let commit = async {
                    let mut answers = sqlx::raw_sql(sql).fetch_many(&mut **postgres);
                    match answers.next().await {
                        Some(Ok(_)) => Ok(read_position(answers).await),
                        Some(Err(error)) => Err(error),
                        None => Err(sqlx::Error::Protocol("COMMIT was not answered".into())),
                    }
                };
                self.log().around(sql, limit, commit).await
            }
            Driver::Sqlite(sqlite, _) => {
                let commit = sqlx::raw_sql("COMMIT").execute(&mut **sqlite);
                self.log().around("COMMIT", limit, commit).await.map(|_| {
                    let commits = SQLITE_COMMITS.fetch_add(1, Ordering::Relaxed) + 1;
                    Ok(Some(Position::new(commits)))
                })
            }
        };
        match outcome {
            Ok(position) => {
                self.set_state(State::Idle);
                // Committed, whatever became of the question for the position.
                Ok(exchange.end(position).unwrap_or_default())
            }
            Err(error) => {
                let lost = breaks_connection(&error);
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

    /// Prepares every statement anew from now on.
    async fn forget_statements(&self) {
        let mut exchange = self.exchange().await;
        let result = match &mut *exchange.driver {
            Driver::Postgres(postgres) => postgres.clear_cached_statements().await,
            Driver::Sqlite(sqlite, _) => sqlite.clear_cached_statements().await,
        };
        if let Err(error) = exchange.end(result) {
            tracing::warn!(%error, "forgetting prepared statements failed");
        }
    }

    /// Rolls back. A connection on which that fails is closed by the pool.
    async fn rollback(&self) {
        self.set_deadline(Deadline::NONE);
        if self.is_broken() {
            // Nobody answers there, and the database rolls back by itself.
            return;
        }
        let limit = self.command_timeout();
        let mut exchange = self.exchange().await;
        let sql = "ROLLBACK";
        let result = match &mut *exchange.driver {
            Driver::Postgres(postgres) => {
                let rollback = sqlx::raw_sql(sql).execute(&mut **postgres);
                self.log().around(sql, limit, rollback).await.map(drop)
            }
            Driver::Sqlite(sqlite, _) => {
                let rollback = sqlx::raw_sql(sql).execute(&mut **sqlite);
                match self.log().around(sql, limit, rollback).await {
                    // A full disk and some other errors have ended the transaction already.
                    Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("1") => {
                        Ok(())
                    }
                    other => other.map(drop),
                }
            }
        };
        match exchange.end(result) {
            Ok(()) => self.set_state(State::Idle),
            Err(error) => tracing::warn!(%error, "rolling back failed"),
        }
    }
}

/// Reads what follows COMMIT to its end.
async fn read_position(
    answers: impl futures_util::Stream<
        Item = Result<Either<sqlx::postgres::PgQueryResult, sqlx::postgres::PgRow>, sqlx::Error>,
    >,
) -> Result<Option<Position>, sqlx::Error> {
    let rows: Vec<_> = answers.try_collect().await?;
    let row = rows.into_iter().find_map(Either::right);
    row.map(|row| row.try_get::<String, _>(0))
        .transpose()
        .map(|text| text.and_then(|text| Position::parse_lsn(&text)))
}

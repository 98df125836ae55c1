//! Writes of one statement that commits by itself, without BEGIN and COMMIT.
//!
//! A statement that waits for synchronous replicas must not be cancelled: it would end as if it had
//! committed, with a warning that no program sees (PostgreSQL, 27.2.8. Synchronous Replication).
//! Where commits may wait for replicas, writes keep BEGIN and COMMIT.

use std::{pin::pin, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use tokio::time::{sleep_until, timeout};

use crate::{
    call::Call,
    deadline::Deadline,
    error::StoreError,
    pool::pooled::PooledConnection,
    position::Position,
    session::connection::autocommit::AutocommitState,
    transaction::{
        attempt::{Done, explained, in_words_of},
        commands::position_of_sqlite_commit,
        operation::Write,
    },
};

/// How long a session may have been idle before it is sent a statement that commits by itself. If it
/// has ended meanwhile, no one can tell whether the statement was carried out; after a BEGIN it
/// is known that nothing was.
const LONGEST_IDLE: Duration = Duration::from_millis(50);

/// The pause between two cancellations of the same statement.
const CANCEL_PERIOD: Duration = Duration::from_millis(50);

/// Whether a write of this call can be one statement that commits by itself.
pub(super) fn is_possible(connection: &PooledConnection, call: &Call, write: &dyn Write) -> bool {
    if call.validate_only || call.stored_key().is_some() {
        return false;
    }
    let backend = connection.get_database_backend();
    let is_ready = backend == DbBackend::Sqlite
        || connection.idle_before() <= LONGEST_IDLE && connection.is_asynchronous();
    is_ready && write.is_single_statement(backend)
}

/// Carries the write out, or explains why it failed.
///
/// # Errors
/// [`StoreError::CommitOutcomeUnknown`] if the statement was sent and not answered.
pub(super) async fn attempt(
    connection: &PooledConnection,
    call: &Call,
    write: &dyn Write,
) -> Result<Done, StoreError> {
    connection.set_deadline(call.deadline);
    // After the statement nothing may fail for want of memory. What it returns is small.
    connection.set_meter(None);
    if connection.is_evicted() {
        // The node isn't the primary any more, or that is unknown: nothing is written there.
        return Err(StoreError::Unavailable(DbErr::Custom("the primary is another one".into())));
    }
    connection.check_file()?;
    connection.begin_autocommit();
    let (applied, is_cancelled) = in_time(connection, call, write).await;
    let error = match (applied, connection.end_autocommit()) {
        (Ok(answer), _) if !is_cancelled => {
            return Ok(Done { answer, position: committed(connection)?, replayed: false });
        }
        // Where commits began to wait for replicas meanwhile, the cancellation has ended the wait.
        // The caller does not wait any more either.
        (Ok(_), _) => {
            let message = "a cancellation was sent before the answer";
            StoreError::CommitOutcomeUnknown(DbErr::Custom(message.into()))
        }
        (Err(StoreError::Unavailable(error)), AutocommitState::Unknown) => {
            StoreError::CommitOutcomeUnknown(error)
        }
        (Err(error), AutocommitState::Unknown) => {
            StoreError::CommitOutcomeUnknown(DbErr::Custom(error.report()))
        }
        // The answer could not be read. The operation's own refusals say that no row was changed.
        (Err(StoreError::Internal(error)), AutocommitState::Answered) => {
            StoreError::CommitOutcomeUnknown(error)
        }
        (Err(error), _) => error,
    };
    if let StoreError::CommitOutcomeUnknown(_) = error {
        return Err(error);
    }
    connection.set_deadline(call.deadline);
    Err(in_words_of(call, explained(connection, call, write, error).await))
}

/// Applies the write. Once the deadline has passed, its statement is cancelled until it ends.
/// Returns whether a cancellation was sent too.
async fn in_time(
    connection: &PooledConnection,
    call: &Call,
    write: &dyn Write,
) -> (Result<Vec<u8>, StoreError>, bool) {
    let mut applied = pin!(write.apply(connection));
    let late = async {
        match call.deadline.instant() {
            Some(instant) => sleep_until(instant.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        applied = &mut applied => return (applied, false),
        () = late => {}
    }
    // SQLite ends its statements itself.
    let is_cancelled = connection.get_database_backend() == DbBackend::Postgres;
    loop {
        if is_cancelled {
            connection.cancel_unless_synchronous().await;
        }
        // A session that has not begun the statement yet ignores a cancellation.
        if let Ok(applied) = timeout(CANCEL_PERIOD, &mut applied).await {
            return (applied, is_cancelled);
        }
    }
}

/// The position of the commit on SQLite. On PostgreSQL it is asked for once the connection is not
/// needed any more.
fn committed(connection: &PooledConnection) -> Result<Option<Position>, StoreError> {
    connection.set_deadline(Deadline::NONE);
    if connection.get_database_backend() == DbBackend::Postgres {
        return Ok(None);
    }
    let position = position_of_sqlite_commit();
    connection
        .check_file()
        .map_err(|error| StoreError::CommitOutcomeUnknown(DbErr::Custom(error.to_string())))?;
    Ok(Some(position))
}

//! What the attempts at a write have in common: their result, and the explanation of their errors.

use crate::{
    call::Call,
    constraint,
    error::StoreError,
    position::Position,
    session::connection::Connection,
    transaction::{
        commands::{Begin, LONGEST_IDLE},
        operation::Write,
    },
};

/// The result of a successful attempt.
pub(super) struct Done {
    pub answer: Vec<u8>,
    pub position: Option<Position>,
    pub replayed: bool,
}

/// The error of a statement, whose timeout may have been the call's deadline.
pub(super) fn in_words_of(call: &Call, error: StoreError) -> StoreError {
    match error {
        StoreError::StatementTimeout(_) if call.deadline.has_passed() => {
            StoreError::DeadlineExceeded
        }
        error => error,
    }
}

/// Explains a broken constraint by the fields of the request, if that is possible.
pub(super) async fn explained(
    connection: &Connection,
    call: &Call,
    write: &dyn Write,
    error: StoreError,
) -> StoreError {
    let is_broken = matches!(error, StoreError::Constraint { .. });
    let Some(way) = write.way_to_failure().filter(|_| is_broken) else {
        return constraint::explain(connection, write.constraint_checks(), error).await;
    };
    // Applies the earlier operations again, or values that they had taken would seem free.
    let again = async {
        let isolation = call.isolation;
        let begin = Begin { isolation, read_only: false, lock: None, idle: LONGEST_IDLE };
        connection.begin(begin).await?;
        way.retrace(connection).await
    };
    let error = match again.await {
        Ok(()) => constraint::explain(connection, write.constraint_checks(), error).await,
        // Other writes have changed the rows since, or the time is over.
        Err(other) => other,
    };
    connection.rollback().await;
    error
}

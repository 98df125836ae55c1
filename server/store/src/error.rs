//! The errors of the store.

use sea_orm::{DbErr, RuntimeErr};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    cause::{Cause, ConstraintKind, breaks_connection},
    precondition::Precondition,
    violation::FieldViolation,
};

/// Why the store refused or failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Values violate rules that need rows of the database: nothing was changed.
    #[error("{} invalid field(s)", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// A row that the request addresses doesn't exist.
    #[error("no {resource} {id}")]
    NotFound {
        /// The resource, in the singular: `book`.
        resource: &'static str,
        /// The id in the request.
        id: Uuid,
        /// The field of the request that has the id.
        field: String,
    },
    /// The row has changed since the etag was issued.
    #[error("{resource} {id} has changed")]
    EtagMismatch {
        /// The resource, in the singular: `book`.
        resource: &'static str,
        /// The row.
        id: Uuid,
        /// The field of the request that has the etag.
        field: String,
    },
    /// Other rows have the unique values.
    #[error("{} unique value(s) taken", .0.len())]
    AlreadyExists(Vec<FieldViolation>),
    /// Rows that the request refers to don't exist.
    #[error("{} reference(s) missing", .0.len())]
    ReferenceNotFound(Vec<FieldViolation>),
    /// Other rows refer to the rows to be deleted.
    #[error("{} row(s) still referred to", .0.len())]
    InUse(Vec<FieldViolation>),
    /// A resource's own precondition failed: nothing was changed.
    #[error("{}: {}", .0.reason, .0.message)]
    Precondition(Precondition),
    /// A limit on calls of this kind is reached. The call can be repeated later.
    #[error("too many calls wait for the same resource")]
    Overloaded,
    /// A constraint was broken, and the store has not found the field that violates it.
    #[error("constraint {constraint} broken")]
    Constraint {
        /// The kind of the constraint.
        kind: ConstraintKind,
        /// Its name on PostgreSQL, its columns (`books.title`) or nothing on SQLite.
        constraint: String,
        /// The database's error.
        #[source]
        source: DbErr,
    },
    /// The answer would be larger than a message may be.
    #[error("an answer of {size} bytes, where {limit} are allowed")]
    AnswerTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The greatest size in bytes.
        limit: usize,
    },
    /// Serialization failure, deadlock, or a busy SQLite file: nothing was changed.
    #[error("collided with another transaction")]
    Conflict(#[source] DbErr),
    /// Another call has the same idempotency key and hasn't ended: nothing was changed.
    #[error("the idempotency key is in use")]
    KeyInUse(#[source] DbErr),
    /// The idempotency key was used for another request: nothing was changed.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The idempotency key was fenced off before this write came: nothing was changed.
    #[error("the idempotency key was fenced off")]
    KeyFenced,
    /// All slots of transactions that callers lead are taken.
    #[error("too many transactions are open")]
    TransactionLimit,
    /// An interactive transaction was open for too long: nothing was changed.
    #[error("the transaction was open for too long")]
    TransactionTimeout,
    /// The caller of a transaction sent no step for too long: nothing was changed.
    #[error("the transaction's caller was silent for too long")]
    TransactionIdle,
    /// A lock wasn't free in time: nothing was changed.
    #[error("a lock wasn't free in time")]
    LockTimeout(#[source] DbErr),
    /// A statement ran into its timeout: nothing was changed.
    #[error("a statement ran too long")]
    StatementTimeout(#[source] DbErr),
    /// The call's deadline passed: nothing was changed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// All connections were busy for too long.
    #[error("no connection was free within {waited_ms} ms")]
    PoolTimeout {
        /// How long the call waited, in milliseconds.
        waited_ms: u64,
    },
    /// The database's disk is full: nothing was changed.
    #[error("the disk is full")]
    DiskFull(#[source] DbErr),
    /// The database can't be reached: nothing was changed.
    #[error("the database can't be reached")]
    Unavailable(#[source] DbErr),
    /// The database can't be used as it is set up: nothing was changed. The sentence is for
    /// operators.
    #[error("{0}")]
    Unsuitable(String),
    /// The connection broke during COMMIT: the write happened or it didn't.
    #[error("the connection broke during the commit")]
    CommitOutcomeUnknown(#[source] DbErr),
    /// A failover has discarded a position that the read must see. An acknowledged write may be
    /// lost.
    #[error("the position was lost in a failover")]
    PositionLost,
    /// No node can verify whether the database has a position that the read must see.
    #[error("the position can't be verified")]
    PositionUnverifiable,
    /// Any other error: a defect of this program, or a wrong setting.
    #[error("unexpected")]
    Internal(#[source] DbErr),
}

impl StoreError {
    /// The error and its cause, for logs and operators. Callers must not get it, since it may name
    /// tables and hosts.
    pub fn report(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// The same error with this prefix before its field paths, such as `requests[3].`.
    pub fn within(self, prefix: &str) -> Self {
        let inside = |violations: Vec<FieldViolation>| -> Vec<FieldViolation> {
            violations
                .into_iter()
                .map(|violation| FieldViolation {
                    field: format!("{prefix}{}", violation.field),
                    ..violation
                })
                .collect()
        };
        match self {
            Self::Invalid(violations) => Self::Invalid(inside(violations)),
            Self::AlreadyExists(violations) => Self::AlreadyExists(inside(violations)),
            Self::ReferenceNotFound(violations) => Self::ReferenceNotFound(inside(violations)),
            Self::InUse(violations) => Self::InUse(inside(violations)),
            Self::Precondition(failed) => {
                let violations = inside(failed.violations);
                Self::Precondition(Precondition { violations, ..failed })
            }
            Self::NotFound { resource, id, field } => {
                Self::NotFound { resource, id, field: format!("{prefix}{field}") }
            }
            Self::EtagMismatch { resource, id, field } => {
                Self::EtagMismatch { resource, id, field: format!("{prefix}{field}") }
            }
            other => other,
        }
    }

    /// Whether the write collided with another one, so that another attempt may succeed.
    pub(crate) fn is_collision(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::LockTimeout(_))
    }

    /// Whether a transaction can't go on after this error, even after a rollback to a savepoint.
    pub(crate) fn ends_transaction(&self) -> bool {
        !matches!(
            self,
            Self::Invalid(_)
                | Self::NotFound { .. }
                | Self::EtagMismatch { .. }
                | Self::AlreadyExists(_)
                | Self::ReferenceNotFound(_)
                | Self::InUse(_)
                | Self::Precondition(_)
                | Self::Constraint { .. }
                | Self::AnswerTooLarge { .. }
        )
    }

    /// Whether the session had ended: the server said so, or has closed the connection. A server
    /// that doesn't answer in time is another case.
    pub(crate) fn is_of_ended_session(&self) -> bool {
        let (Self::Unavailable(error) | Self::CommitOutcomeUnknown(error)) = self else {
            return false;
        };
        let DbErr::Query(RuntimeErr::SqlxError(error)) = error else { return false };
        let is_late =
            matches!(&**error, sqlx::Error::Io(it) if it.kind() == std::io::ErrorKind::TimedOut);
        breaks_connection(error) && !is_late
    }

    /// A defect of this program. The message is for logs only.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(DbErr::Custom(message.into()))
    }
}

impl From<Precondition> for StoreError {
    fn from(failed: Precondition) -> Self {
        Self::Precondition(failed)
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match Cause::of(&error) {
            Cause::Constraint(kind, constraint) => {
                Self::Constraint { kind, constraint, source: error }
            }
            Cause::Conflict => Self::Conflict(error),
            Cause::LockTimeout => Self::LockTimeout(error),
            Cause::StatementTimeout => Self::StatementTimeout(error),
            Cause::DiskFull => Self::DiskFull(error),
            Cause::Idle => Self::TransactionIdle,
            Cause::Unavailable => Self::Unavailable(error),
            Cause::Deadline => Self::DeadlineExceeded,
            Cause::NoRoom => Self::Overloaded,
            Cause::Other => Self::Internal(error),
        }
    }
}

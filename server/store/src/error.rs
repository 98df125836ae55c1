//! The errors of the store. Database errors are classified here, by code, for both engines.

use sea_orm::{DbErr, RuntimeErr};
use thiserror::Error;
use uuid::Uuid;

use crate::{precondition::Precondition, violation::FieldViolation};

/// Which kind of constraint a write broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A primary key or a unique constraint.
    Unique,
    /// A foreign key: the row referred to is missing, or rows still refer to this one.
    Reference,
    /// A CHECK, NOT NULL or length constraint.
    Check,
}

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

/// The text by which a [`DbErr`] says that rows would take more memory than the call may.
pub(crate) const NO_ROOM: &str = "there is no room for more rows";

/// The text by which a [`DbErr`] says that a read took longer than it may.
pub(crate) const READ_TIMEOUT: &str = "the read took longer than database_read_timeout";

/// The text by which a [`DbErr`] says that the deadline had passed before a statement began.
pub(crate) const DEADLINE_PASSED: &str = "the deadline passed before the statement began";

/// The class of a database error.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    Constraint(ConstraintKind, String),
    Conflict,
    LockTimeout,
    StatementTimeout,
    DiskFull,
    /// The server has ended a session that was idle in a transaction.
    Idle,
    Unavailable,
    Deadline,
    NoRoom,
    Other,
}

impl Cause {
    fn of(error: &DbErr) -> Self {
        let (DbErr::Exec(runtime) | DbErr::Query(runtime) | DbErr::Conn(runtime)) = error else {
            return match error {
                DbErr::Custom(text) if text == DEADLINE_PASSED => Self::Deadline,
                DbErr::Custom(text) if text == NO_ROOM => Self::NoRoom,
                DbErr::Custom(text) if text == READ_TIMEOUT => Self::StatementTimeout,
                _ => Self::Other,
            };
        };
        let RuntimeErr::SqlxError(source) = runtime else { return Self::Other };
        match source.as_ref() {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                    Self::of_postgres(&code, database.constraint().unwrap_or_default())
                } else {
                    Self::of_sqlite(&code, database.message())
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Self::Unavailable,
            _ => Self::Other,
        }
    }

    /// By SQLSTATE (PostgreSQL, Appendix A).
    fn of_postgres(code: &str, constraint: &str) -> Self {
        let broken = |kind| Self::Constraint(kind, constraint.to_owned());
        match code {
            "23505" | "23P01" => broken(ConstraintKind::Unique),
            "23503" | "23001" => broken(ConstraintKind::Reference),
            // Also too long texts, numbers out of range, and invalid bytes in texts.
            "23514" | "23502" | "22001" | "22003" | "22021" | "22P05" => {
                broken(ConstraintKind::Check)
            }
            "40001" | "40P01" => Self::Conflict,
            "55P03" => Self::LockTimeout,
            "57014" => Self::StatementTimeout,
            "53100" => Self::DiskFull,
            "25P03" => Self::Idle,
            // 25006, read-only: the primary has become a replica.
            "25006" | "57P01" | "57P02" | "57P03" | "57P05" | "53300" => Self::Unavailable,
            // Classes: connection exceptions, invalid authorization, unknown database.
            _ if code.starts_with("08") || code.starts_with("28") || code == "3D000" => {
                Self::Unavailable
            }
            _ => Self::Other,
        }
    }

    /// By SQLite's extended result code (sqlite.org/rescode.html).
    fn of_sqlite(code: &str, message: &str) -> Self {
        let Ok(code) = code.parse::<i32>() else { return Self::Other };
        // "UNIQUE constraint failed: categories.name"
        let columns = message.rsplit_once(": ").map_or("", |(_, columns)| columns);
        let broken = |kind| Self::Constraint(kind, columns.to_owned());
        match (code, code & 0xff) {
            (1555 | 2067, _) => broken(ConstraintKind::Unique),
            (787 | 1811, _) => broken(ConstraintKind::Reference),
            (275 | 1299, _) => broken(ConstraintKind::Check),
            // BUSY and LOCKED.
            (_, 5 | 6) => Self::Conflict,
            // INTERRUPT: the progress handler ended the statement.
            (_, 9) => Self::StatementTimeout,
            (_, 13) => Self::DiskFull,
            // IOERR, CANTOPEN.
            (_, 10 | 14) => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

/// Whether the connection is unusable after this error.
pub(crate) fn breaks_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            // FATAL errors end the session: shutdowns, terminations, idle timeouts.
            database.code().is_some_and(|code| code.starts_with("57P") || code == "25P03")
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, ConstraintKind};

    #[test]
    fn sqlstates_have_their_causes() {
        let named = |kind| Cause::Constraint(kind, "books_pkey".into());
        for (code, cause) in [
            ("23505", named(ConstraintKind::Unique)),
            ("23503", named(ConstraintKind::Reference)),
            ("23001", named(ConstraintKind::Reference)),
            ("23514", named(ConstraintKind::Check)),
            ("22001", named(ConstraintKind::Check)),
            ("40001", Cause::Conflict),
            ("40P01", Cause::Conflict),
            ("55P03", Cause::LockTimeout),
            ("57014", Cause::StatementTimeout),
            ("53100", Cause::DiskFull),
            ("25P03", Cause::Idle),
            ("25006", Cause::Unavailable),
            ("57P01", Cause::Unavailable),
            ("08006", Cause::Unavailable),
            ("28P01", Cause::Unavailable),
            ("42601", Cause::Other),
        ] {
            assert_eq!(Cause::of_postgres(code, "books_pkey"), cause, "{code}");
        }
    }

    #[test]
    fn result_codes_have_their_causes() {
        let unique = "UNIQUE constraint failed: categories.name";
        let named = |kind| Cause::Constraint(kind, "categories.name".into());
        let nameless = |kind| Cause::Constraint(kind, String::new());
        for (code, message, cause) in [
            ("2067", unique, named(ConstraintKind::Unique)),
            ("1555", unique, named(ConstraintKind::Unique)),
            ("787", "FOREIGN KEY constraint failed", nameless(ConstraintKind::Reference)),
            ("1811", "FOREIGN KEY constraint failed", nameless(ConstraintKind::Reference)),
            ("5", "database is locked", Cause::Conflict),
            ("517", "database is locked", Cause::Conflict),
            ("9", "interrupted", Cause::StatementTimeout),
            ("13", "database or disk is full", Cause::DiskFull),
            ("14", "unable to open database file", Cause::Unavailable),
            ("1", "no such table: books", Cause::Other),
        ] {
            assert_eq!(Cause::of_sqlite(code, message), cause, "{code}");
        }
    }
}

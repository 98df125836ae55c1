//! Classifies database errors, by code, for both engines.

use sea_orm::{DbErr, RuntimeErr};

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

/// The text by which a [`DbErr`] says that rows would take more memory than the call may.
pub(crate) const NO_ROOM: &str = "there is no room for more rows";

/// The text by which a [`DbErr`] says that a read took longer than it may.
pub(crate) const READ_TIMEOUT: &str = "the read took longer than database_read_timeout";

/// The text by which a [`DbErr`] says that the deadline had passed before a statement began.
pub(crate) const DEADLINE_PASSED: &str = "the deadline passed before the statement began";

/// The class of a database error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cause {
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
    /// Classifies an error by its code.
    pub(crate) fn of(error: &DbErr) -> Self {
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

/// Whether the command that commits may have taken effect after this error: COMMIT, or a statement
/// outside a transaction. An answer proves that it has not, and so does a message that the socket
/// did not take.
///
/// A server that ends a session instead of answering has not committed: it answers the command
/// first if that has happened, and a termination while a commit waits for replicas is not answered
/// at all.
pub(crate) fn may_have_committed(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            // Idle in a transaction, terminated, idle.
            let has_ended = matches!(&*code, "25P03" | "57P01" | "57P05");
            // The others of the class, and what a pooler answers when it has lost the server.
            !has_ended && (code.starts_with("57P") || code.starts_with("08"))
        }
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::BrokenPipe,
        sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
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

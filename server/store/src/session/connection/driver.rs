//! The driver of a session and the server that runs it.

use sqlx::{PgConnection, SqliteConnection};

use crate::session::interrupt::Interrupt;

/// What a session may do. The database enforces it too.
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
    /// PostgreSQL, with the server that runs the session.
    Postgres(Box<PgConnection>, ServerIdentity),
    /// SQLite, with the switch that interrupts a statement after its timeout.
    Sqlite(Box<SqliteConnection>, Interrupt),
}

/// The server that runs a session of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    /// The process id of the session's backend.
    pub process: i32,
    /// The cluster's system identifier.
    pub system: u64,
    /// The start time of the server, in microseconds since 1970. After a restart a server may be
    /// at an earlier position.
    pub started: i64,
}

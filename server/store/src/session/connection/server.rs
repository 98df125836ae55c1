//! What a session of PostgreSQL is held by.

/// The server behind a session of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// The process that serves the session.
    pub process: i32,
    /// The cluster's system identifier.
    pub system: u64,
    /// When the server was started, in microseconds: another start is another server, which may
    /// stand at an earlier position.
    pub started: i64,
}

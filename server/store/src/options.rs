//! How a store is opened.

use std::time::Duration;

use crate::{pool::PoolOptions, session::statement_log::StatementLog, topology::TopologyOptions};

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// The nodes, each with a name for reports and a URL (`sqlite:`, `postgres:` or
    /// `postgresql:`), which is a secret. At least one. The first that answers determines the
    /// cluster.
    pub nodes: Vec<(String, String)>,
    /// The pool of each node. SQLite has one connection for writing and up to four for reading.
    pub pool: PoolOptions,
    /// How reads and writes find their node.
    pub topology: TopologyOptions,
    /// The statement timeout.
    pub command_timeout: Duration,
    /// The timeout of unary reads ([`Limit::Call`](crate::Limit::Call)).
    pub read_timeout: Duration,
    /// Which statements are logged.
    pub statement_log: StatementLog,
    /// The key that seals tokens; `None` for the one in the database.
    pub sealing_key: Option<[u8; 32]>,
}

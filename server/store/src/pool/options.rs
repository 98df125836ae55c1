//! The settings and the figures of a pool.

use std::{sync::Arc, time::Duration};

/// How many sessions in a row a call may find ended before it fails: those that the server has
/// ended while they were idle. With the first one the pool drops all idle ones.
pub(crate) const MOST_DEAD_SESSIONS: usize = 2;

/// The settings of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// How many connections the pool keeps open. Default 10.
    pub size: u32,
    /// How many more connections the pool opens while all others are busy. It closes them after
    /// they were idle for 10 s. Default 20.
    pub max_overflow: u32,
    /// How long a call waits for a connection. Default 3 s.
    pub timeout: Duration,
    /// The lifetime of a connection, plus or minus 10 %, so that the pool does not replace all at
    /// once. Default 1 h.
    pub recycle: Duration,
    /// Whether the pool pings a connection that was idle for 10 s before it checks it out.
    /// Default true.
    pub pre_ping: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            size: 10,
            max_overflow: 20,
            timeout: Duration::from_secs(3),
            recycle: Duration::from_hours(1),
            pre_ping: true,
        }
    }
}

impl PoolOptions {
    /// The most connections that the pool opens; at least 1.
    pub(crate) fn most(&self) -> u32 {
        self.size.saturating_add(self.max_overflow).max(1)
    }
}

/// The number of connections in a pool, by state.
#[derive(Clone, Debug)]
pub struct PoolStats {
    /// The node that the pool connects to.
    pub node: Arc<str>,
    /// The connections that are checked out, being opened or being closed.
    pub used: u32,
    /// The idle connections.
    pub idle: u32,
    /// The most connections that the pool opens.
    pub most: u32,
}

//! A connection's membership in its pool: its generation and its end of life.

use std::time::Duration;

use tokio::sync::watch;

use crate::deadline::Deadline;

/// A connection's membership in a pool. The pool evicts all connections of a generation at once
/// when the node loses its role or stops to answer.
#[derive(Debug)]
pub(crate) struct PoolMembership {
    generation: u64,
    current: watch::Receiver<u64>,
    end: Deadline,
}

impl PoolMembership {
    /// A membership of the generation in which the connection began to open. The connection is
    /// to be replaced after `lifetime`.
    pub(crate) fn new(generation: u64, current: watch::Receiver<u64>, lifetime: Duration) -> Self {
        Self { generation, current, end: Deadline::after(lifetime) }
    }

    /// Whether the connection has reached its lifetime.
    pub(crate) fn is_old(&self) -> bool {
        self.end.has_passed()
    }

    /// Whether the pool has evicted the connection's generation.
    pub(crate) fn is_evicted(&self) -> bool {
        *self.current.borrow() != self.generation
    }

    /// Waits until the pool evicts the connection's generation.
    pub(crate) async fn evicted(&self) {
        let mut current = self.current.clone();
        // A dropped pool has no connection in use, so it evicts none.
        if current.wait_for(|current| *current != self.generation).await.is_err() {
            std::future::pending().await
        }
    }
}

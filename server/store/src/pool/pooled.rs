//! A connection that is checked out of a pool.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    deadline::Deadline,
    pool::shared::{Pool, in_background},
    serving_node::ServingNode,
    session::connection::{Connection, state::TransactionState},
};

/// How long the end of a commit without an answer is waited for.
const SETTLING: Duration = Duration::from_secs(1);

/// A connection that is checked out of a pool. Dropping it returns the connection.
///
/// If the caller abandoned a statement, the pool cancels the statement first and returns the
/// connection when it answers again.
pub struct PooledConnection {
    pool: Arc<Pool>,
    node: ServingNode,
    timeline: u32,
    /// The pool's permit, and the permit of reads that fall back to the primary.
    permits: (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>),
    connection: Option<Connection>,
}

impl PooledConnection {
    /// Waits until a caller waits for a connection of the same pool.
    pub(crate) async fn others_wait(&self) {
        self.pool.waiters.any().await;
    }

    pub(crate) fn new(
        pool: Arc<Pool>,
        permit: OwnedSemaphorePermit,
        connection: Connection,
    ) -> Self {
        let node = ServingNode { name: pool.node.clone(), is_primary: false };
        let permits = (Some(permit), None);
        Self { pool, node, timeline: 0, permits, connection: Some(connection) }
    }

    /// The node.
    pub fn node(&self) -> ServingNode {
        self.node.clone()
    }

    /// The node's timeline; 0 if it is unknown.
    pub(crate) fn timeline(&self) -> u32 {
        self.timeline
    }

    /// Sets the node's role and its timeline.
    pub(crate) fn leads_to(&mut self, is_primary: bool, timeline: u32) {
        (self.node.is_primary, self.timeline) = (is_primary, timeline);
    }

    /// The pool that the connection returns to.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether the node has said within the last second that commits wait for no replica.
    pub(crate) fn is_asynchronous(&self) -> bool {
        self.pool.connector.condition().is_asynchronous()
    }

    /// Cancels the connection's statement unless commits may wait for replicas.
    pub(crate) async fn cancel_unless_synchronous(&self) {
        if let Some(server) = self.server() {
            self.pool.cancel_unless_synchronous(server.process).await;
        }
    }

    /// After a commit without an answer: waits up to a second until the session's transaction has
    /// ended, so that a read shows whether it has happened.
    pub(crate) async fn settle(&self) {
        let Some(server) = self.server() else { return };
        if timeout(SETTLING, self.pool.settle(server.process)).await.is_err() {
            tracing::info!("a commit without an answer has not ended yet");
        }
    }

    /// Holds one more permit until the connection returns to the pool.
    pub(crate) fn holds(&mut self, permit: Option<OwnedSemaphorePermit>) {
        self.permits.1 = permit;
    }

    /// Drops the connection, so that the pool never checks it out again.
    pub(crate) fn discard(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.discard(connection);
        }
    }
}

impl Deref for PooledConnection {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "only dropping the pooled connection takes it")]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a pooled connection that isn't dropped")
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PooledConnection")
            .field("node", &self.node())
            .finish_non_exhaustive()
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        connection.set_deadline(Deadline::NONE);
        // An idle connection must not keep the memory of its last call charged.
        connection.set_meter(None);
        let (pool, permit) = (self.pool.clone(), self.permits.0.take());
        if connection.is_broken() || connection.is_evicted() {
            pool.discard(connection);
        } else if connection.is_in_flight() {
            // The permit is held until the statement has ended, or more statements would run in
            // the database than the pool has connections.
            in_background(async move {
                pool.recover(connection).await;
                drop(permit);
            });
        } else if connection.state() != TransactionState::Idle {
            pool.discard(connection);
        } else {
            self.pool.put_back(connection);
        }
    }
}

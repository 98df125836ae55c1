//! A connection on loan.

use std::{fmt, ops::Deref, sync::Arc};

use tokio::sync::OwnedSemaphorePermit;

use crate::{
    deadline::Deadline,
    pool::{Pool, in_background},
    session::connection::{Connection, TransactionState},
};

/// A connection on loan; it goes back when this is dropped.
///
/// One whose statement was abandoned goes back only once that has ended in the database.
pub struct PooledConnection {
    pub(crate) pool: Arc<Pool>,
    pub(crate) node: Arc<str>,
    pub(crate) timeline: u32,
    /// The pool's permit, and that of the node's choice.
    pub(crate) permits: (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>),
    pub(crate) connection: Option<Connection>,
}

impl PooledConnection {
    /// The name of the node that the connection leads to, to callers.
    pub fn node(&self) -> Arc<str> {
        self.node.clone()
    }

    /// The branch of history that the node is on, as far as is known.
    pub(crate) fn timeline(&self) -> u32 {
        self.timeline
    }

    /// Says what the node is to callers.
    pub(crate) fn leads_to(&mut self, node: Arc<str>, timeline: u32) {
        (self.node, self.timeline) = (node, timeline);
    }

    /// Holds another permit for as long as the connection is checked out.
    pub(crate) fn holds(&mut self, permit: Option<OwnedSemaphorePermit>) {
        self.permits.1 = permit;
    }

    /// Discards the connection: it must not be checked out again.
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
        let (pool, permit) = (self.pool.clone(), self.permits.0.take());
        if connection.is_broken() || connection.is_evicted() {
            pool.discard(connection);
        } else if connection.is_in_flight() {
            // What still runs has to end before another one takes this place, or there would
            // be more sessions at work than agreed.
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

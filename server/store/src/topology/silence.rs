//! How long calls wait for a node that doesn't answer.
//!
//! A node whose probes fail may only be slow. So a call that has changed something waits for its
//! answer until its time is over, the connection breaks, or a successor of the primary is seen.

use tokio::time::timeout;

use crate::topology::nodes::Topology;

impl Topology {
    /// Waits until a read or a call that has changed nothing should leave a node. It leaves a
    /// replica as soon as that doesn't answer probes, since others can answer. It leaves a primary
    /// after `database_failover_wait`, as long as it would have waited for another primary.
    pub(crate) async fn is_left(&self, index: usize, is_primary: bool) {
        if self.is_single() {
            return std::future::pending().await;
        }
        let mut seen = self.nodes[index].probe_result.subscribe();
        let wait = self.options.failover_wait;
        loop {
            if seen.wait_for(Option::is_none).await.is_err() {
                return std::future::pending().await;
            }
            if !is_primary || timeout(wait, seen.wait_for(Option::is_some)).await.is_err() {
                return;
            }
        }
    }

    /// Whether a node doesn't answer probes.
    pub(crate) fn is_silent(&self, index: usize) -> bool {
        !self.is_single() && self.nodes[index].probe_result.borrow().is_none()
    }
}

//! Probes every node periodically.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use crate::{deadline::Deadline, topology::Topology};

/// The time between two probes of a node.
pub(crate) const PERIOD: Duration = Duration::from_millis(250);

/// The same while reads wait for it to reach a position, or all wait for a primary.
const HURRIED: Duration = Duration::from_millis(1);
const WITHOUT_PRIMARY: Duration = Duration::from_millis(50);

/// The longest pause before a node that doesn't answer is probed again.
const LONGEST: Duration = Duration::from_secs(5);

/// How long a node may take to answer before it is taken for gone.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Follows all nodes, each in a task of its own, for as long as anybody holds the topology.
pub(crate) fn follow(topology: &Arc<Topology>) {
    for index in 0..topology.nodes.len() {
        tokio::spawn(follow_node(Arc::downgrade(topology), index));
    }
}

async fn follow_node(topology: Weak<Topology>, index: usize) {
    let mut misses = 0;
    loop {
        let Some(held) = topology.upgrade() else { return };
        let node = held.nodes[index].clone();
        let seen = node.probe(Deadline::after(PROBE_TIMEOUT)).await;
        misses = if seen.is_ok() { 0 } else { misses + 1 };
        held.note(index, seen);
        let primary = held.snapshot.borrow().primary.is_some();
        drop(held);
        let is_waited_for = misses == 0 && node.waiting.load(Ordering::Relaxed) > 0;
        let pause = match misses {
            _ if is_waited_for => HURRIED,
            _ if !primary => WITHOUT_PRIMARY,
            0 => PERIOD,
            _ => PERIOD.saturating_mul(1 << misses.min(8)).min(LONGEST),
        };
        tokio::select! {
            () = sleep(pause) => {}
            // Not more often than this, whatever breaks.
            () = async { node.wake.notified().await; sleep(HURRIED).await } => {}
        }
    }
}

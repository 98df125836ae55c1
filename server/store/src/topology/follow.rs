//! Probes every node periodically.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    deadline::Deadline,
    topology::{
        nodes::Topology,
        probe::{PERIOD, PROBE_TIMEOUT},
    },
};

/// The time between two probes while reads wait for the node to reach a position.
const HURRIED: Duration = Duration::from_millis(1);

/// The time between two probes while there is no primary.
const WITHOUT_PRIMARY: Duration = Duration::from_millis(50);

/// The longest pause before a node that doesn't answer is probed again.
const LONGEST: Duration = Duration::from_secs(5);

/// Starts a task for each node, which probes it until the topology is dropped.
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
        let is_waited_for = misses == 0 && node.waiters.count() > 0;
        let pause = match misses {
            _ if is_waited_for => HURRIED,
            _ if !primary => WITHOUT_PRIMARY,
            0 | 1 => PERIOD,
            _ => PERIOD.saturating_mul(1 << misses.min(8)).min(LONGEST),
        };
        tokio::select! {
            () = sleep(pause) => {}
            // At most once per millisecond, whatever wakes the task.
            () = async { node.wake.notified().await; sleep(HURRIED).await } => {}
        }
    }
}

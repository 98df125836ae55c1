//! The nodes that can answer questions about the schema.

use std::sync::atomic::Ordering;

use crate::topology::nodes::Topology;

/// The nodes in the order in which they are asked: the primary, then the replicas; those that have
/// missed a probe come last. All nodes if neither is known.
pub(crate) fn nodes_to_ask(topology: &Topology) -> Vec<usize> {
    let snapshot = topology.snapshot();
    let replicas = snapshot.replicas.iter().map(|replica| replica.node);
    let mut nodes: Vec<usize> = snapshot.primary.into_iter().chain(replicas).collect();
    if nodes.is_empty() {
        nodes.extend(0..topology.nodes.len());
    }
    nodes.sort_by_key(|node| topology.nodes[*node].misses.load(Ordering::Relaxed) > 0);
    nodes
}

//! The nodes that can answer questions about the schema.

use crate::topology::nodes::Topology;

/// The nodes in the order in which they are asked: the primary, then the replicas. All nodes if
/// neither is known.
pub(crate) fn nodes_to_ask(topology: &Topology) -> Vec<usize> {
    let snapshot = topology.snapshot();
    let replicas = snapshot.replicas.iter().map(|replica| replica.node);
    let mut nodes: Vec<usize> = snapshot.primary.into_iter().chain(replicas).collect();
    if nodes.is_empty() {
        nodes.extend(0..topology.nodes.len());
    }
    nodes
}

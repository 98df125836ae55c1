//! All nodes: the last probe result of each, and the snapshot of all.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use sea_orm::DbBackend;
use tokio::sync::{Semaphore, watch};

use crate::{
    deadline::Deadline,
    error::StoreError,
    session::limit::is_of_limit,
    telemetry::meters::{NODE_LAG, ROLE_CHANGES},
    topology::{
        history::TimelineHistory,
        node::{Node, NodeRole, NodeStatus},
        probe::ProbeResult,
        snapshot::{Memory, TopologySnapshot},
    },
};

/// How many probes in a row a node must miss to count as gone. A refusal counts at once.
const SUSPECT_AFTER: u32 = 2;

/// How many calls may wait for a primary at the same time while there is none.
const QUEUE: usize = 1_000;

/// The settings of reads and writes on several nodes.
#[derive(Clone, Copy, Debug)]
pub struct TopologyOptions {
    /// The greatest lag of a replica that answers reads. While the lag is unknown, the replica
    /// answers reads whose position it has reached, and eventual ones. A longer lag than this one
    /// and 30 s counts as unknown. Default 1 s.
    pub max_lag: Duration,
    /// How long a read waits for a replica to reach its position before it goes to the primary.
    /// Default 50 ms.
    pub replica_wait: Duration,
    /// How long calls wait for a primary while there is none. Default 10 s.
    pub failover_wait: Duration,
}

impl Default for TopologyOptions {
    fn default() -> Self {
        Self {
            max_lag: Duration::from_secs(1),
            replica_wait: Duration::from_millis(50),
            failover_wait: Duration::from_secs(10),
        }
    }
}

/// All nodes of the database.
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) options: TopologyOptions,
    pub(crate) snapshot: watch::Sender<TopologySnapshot>,
    memory: Mutex<Memory>,
    /// The history of a timeline, beside the timeline.
    pub(crate) history: Mutex<Option<(u32, Arc<TimelineHistory>)>>,
    /// One permit for each call that waits for a primary.
    pub(crate) queue: Arc<Semaphore>,
    /// One permit for each read that falls back from replicas to the primary.
    pub(crate) fallback: Arc<Semaphore>,
}

impl Topology {
    /// `fallback` is the number of reads that the primary answers at a time in place of replicas.
    pub(crate) fn new(
        nodes: Vec<Arc<Node>>,
        fallback: usize,
        options: TopologyOptions,
    ) -> Arc<Self> {
        let (queue, fallback) = (Semaphore::new(QUEUE), Semaphore::new(fallback.max(1)));
        // A single node needs no probe: every call goes there.
        let primary = (nodes.len() == 1).then_some(0);
        let snapshot =
            watch::Sender::new(TopologySnapshot { primary, ..TopologySnapshot::default() });
        let topology = Arc::new(Self {
            nodes,
            options,
            snapshot,
            memory: Mutex::new(Memory::new(options.max_lag)),
            history: Mutex::default(),
            queue: Arc::new(queue),
            fallback: Arc::new(fallback),
        });
        if !topology.is_single() {
            let watched = Arc::downgrade(&topology);
            NODE_LAG.observe(move |observer| {
                let Some(topology) = watched.upgrade() else { return };
                for status in topology.status() {
                    if let Some(lag) = status.lag {
                        observer.observe(lag.as_secs_f64(), &[KeyValue::new("node", status.name)]);
                    }
                }
            });
        }
        topology
    }

    /// Whether there is one node.
    pub(crate) fn is_single(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The current snapshot.
    pub(crate) fn snapshot(&self) -> TopologySnapshot {
        self.snapshot.borrow().clone()
    }

    /// Records a probe of a node.
    pub(crate) fn note(&self, index: usize, seen: Result<ProbeResult, StoreError>) {
        let node = &self.nodes[index];
        let mut memory = self.memory();
        let before = *node.probe_result.borrow();
        let now = match seen {
            Ok(seen) => {
                node.misses.store(0, Ordering::Relaxed);
                Some(seen)
            }
            // The server answers, though it takes no more connections.
            Err(error) if before.is_some() && is_of_limit(&error) => return,
            Err(error) => {
                let misses = node.misses.fetch_add(1, Ordering::Relaxed) + 1;
                let is_late = matches!(error, StoreError::DeadlineExceeded);
                if before.is_some() && is_late && misses < SUSPECT_AFTER {
                    tracing::info!(node = %node.name, "a node has not answered a probe in time");
                    return;
                }
                if before.is_some() {
                    tracing::warn!(node = %node.name, error = error.report(), "a node is gone");
                }
                // Calls on the node go on: it may only be slow. New calls don't go there.
                None
            }
        };
        node.probe_result.send_replace(now);
        // A restart has ended the sessions of the server before.
        let started = now.map_or(0, |now| now.started);
        let has_restarted = match started {
            0 => false,
            started => ![0, started].contains(&node.started.swap(started, Ordering::Relaxed)),
        };
        if has_restarted {
            node.evict();
        }
        self.assess(&mut memory);
    }

    /// Records that a timeline exists, which a consistency token has shown.
    pub(crate) fn learn_timeline(&self, timeline: u32) {
        let mut memory = self.memory();
        if memory.learn_timeline(timeline) {
            tracing::warn!(timeline, "learned a timeline that is newer than any node's");
            self.assess(&mut memory);
        }
        drop(memory);
        self.probe_soon();
    }

    /// Wakes the probes of every node.
    pub(crate) fn probe_soon(&self) {
        for node in &self.nodes {
            node.wake.notify_one();
        }
    }

    /// Probes every node once.
    pub(crate) async fn probe_all(&self, deadline: Deadline) {
        let probes = self.nodes.iter().enumerate().map(async |(index, node)| {
            if node.connector.backend() == DbBackend::Postgres {
                self.note(index, node.probe(deadline).await);
            }
        });
        futures_util::future::join_all(probes).await;
    }

    /// Probes a single node for its status. The result changes no routing.
    pub(crate) async fn probe_single(&self, deadline: Deadline) {
        if let [node] = self.nodes.as_slice()
            && node.connector.backend() == DbBackend::Postgres
        {
            node.probe_result.send_replace(node.probe(deadline).await.ok());
        }
    }

    /// Assesses all probe results, and acts on a change of the primary.
    fn assess(&self, memory: &mut Memory) {
        let probe_results: Vec<_> =
            self.nodes.iter().map(|node| *node.probe_result.borrow()).collect();
        let snapshot = memory.assess(&probe_results);
        let before = self.snapshot.borrow().clone();
        let name = |index: usize| self.nodes[index].name.clone();
        if let Some(old) = memory.replaced(&snapshot) {
            // No write may reach the former primary any more, not even one that has begun.
            self.nodes[old].evict();
        }
        if before.primary != snapshot.primary {
            match snapshot.primary {
                Some(new) => tracing::info!(
                    node = %name(new), timeline = snapshot.timeline, "this node is the primary"
                ),
                None => tracing::warn!("there is no primary"),
            }
            let role = if snapshot.primary.is_some() { "primary" } else { "none" };
            ROLE_CHANGES.add(1, &[KeyValue::new("to", role)]);
        }
        for foreign in snapshot.foreign.iter().filter(|it| !before.foreign.contains(it)) {
            tracing::error!(
                node = %name(*foreign),
                "this node belongs to a foreign cluster and is not used"
            );
        }
        self.snapshot.send_replace(snapshot);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ejects a node for a while, since the connection to it was lost, unless half of the nodes
    /// are ejected. The primary is not ejected: calls that need it have no other node.
    pub(crate) fn eject(&self, index: usize) {
        // Concurrent failures must not eject more than half.
        let memory = self.memory();
        if self.is_primary(index) {
            return;
        }
        let out = self.nodes.iter().filter(|node| node.is_ejected()).count();
        if self.nodes[index].is_ejected() || (out + 1) * 2 <= self.nodes.len() {
            self.nodes[index].failed();
        }
        drop(memory);
    }

    /// Whether a node is the primary.
    pub(crate) fn is_primary(&self, index: usize) -> bool {
        self.snapshot.borrow().primary == Some(index)
    }

    /// Whether there is a primary.
    pub(crate) fn has_primary(&self) -> bool {
        self.snapshot.borrow().primary.is_some()
    }

    /// The status of each node.
    pub(crate) fn status(&self) -> Vec<NodeStatus> {
        let snapshot = self.snapshot();
        let now = Instant::now();
        let status = |(index, node): (usize, &Arc<Node>)| {
            let seen = *node.probe_result.borrow();
            let replica = snapshot.replicas.iter().find(|replica| replica.node == index);
            let role = match seen {
                _ if snapshot.foreign.contains(&index) => NodeRole::ForeignCluster,
                // A SQLite file is not probed.
                None if node.connector.backend() == DbBackend::Sqlite => NodeRole::Primary,
                None => NodeRole::Gone,
                Some(seen) if seen.is_primary && snapshot.primary == Some(index) => {
                    NodeRole::Primary
                }
                Some(seen) if seen.is_primary => NodeRole::FormerPrimary,
                Some(_) if replica.is_some() => NodeRole::Replica,
                Some(seen) if self.is_single() && seen.is_streaming => NodeRole::Replica,
                Some(_) => NodeRole::Detached,
            };
            let primary =
                snapshot.primary.and_then(|index| *self.nodes[index].probe_result.borrow());
            let behind =
                primary.zip(seen).map(|(primary, seen)| primary.number.saturating_sub(seen.number));
            NodeStatus {
                name: node.name.to_string(),
                role,
                timeline: seen.map(|seen| seen.timeline),
                position: seen.map(|seen| seen.number),
                // Without a primary no one knows what has been written.
                lag: replica
                    .filter(|_| snapshot.primary.is_some())
                    .and_then(|replica| snapshot.lag(replica, now)),
                lag_bytes: replica.and(behind),
                in_use: node.in_use(),
                is_ejected: node.is_ejected(),
            }
        };
        self.nodes.iter().enumerate().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pool::PoolOptions,
        session::{connect::Connector, statement_log::StatementLog},
        topology::probe::PROBE_TIMEOUT,
    };

    #[test]
    fn at_most_half_of_the_nodes_are_ejected_and_never_the_primary() {
        let node = || {
            let (url, log) = ("sqlite::memory:", StatementLog::default());
            let pools = |_: &Connector| (PoolOptions::default(), None);
            Node::new("node", url, log, PROBE_TIMEOUT, false, pools).expect("a node")
        };
        for count in 2..=6 {
            let nodes = (0..count).map(|_| node()).collect();
            let topology = Topology::new(nodes, 1, TopologyOptions::default());
            let primary = TopologySnapshot { primary: Some(0), ..TopologySnapshot::default() };
            topology.snapshot.send_replace(primary);
            for round in 0..2 * count {
                topology.eject(round % count);
            }
            let ejected: Vec<_> = topology.nodes.iter().map(|node| node.is_ejected()).collect();
            let are_out = ejected.iter().filter(|it| **it).count();
            assert_eq!(are_out, count / 2, "of {count} nodes");
            assert!(!ejected[0], "the primary");
        }
    }
}

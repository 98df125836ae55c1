//! The snapshot of all nodes: which one is the primary, and which ones follow it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::topology::probe::ProbeResult;

/// How many positions of the primary are kept: those of 30 s.
const REMEMBERED: usize = 120;

/// The roles of all nodes at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologySnapshot {
    /// The system identifier of the cluster; `None` before the first answer of a node.
    pub system: Option<u64>,
    /// The newest timeline that a node or a consistency token has shown.
    pub timeline: u32,
    /// The primary on that timeline.
    pub primary: Option<usize>,
    /// The replicas on that timeline.
    pub replicas: Vec<ReplicaState>,
    /// The nodes of foreign clusters. No call goes there.
    pub foreign: Vec<usize>,
    /// When a probe has last found a primary.
    pub primary_at: Option<Instant>,
}

/// The progress of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// The index of the node.
    pub node: usize,
    /// The latest time at which the replica had everything that was written; `None` if that is
    /// longer ago than 30 s.
    pub had_all_at: Option<Instant>,
    /// Whether the replica has everything that is known to be written.
    pub is_current: bool,
}

impl TopologySnapshot {
    /// The greatest possible lag of a replica: the time since it had everything. It does not grow
    /// while there is no primary, since nothing is written then.
    pub fn lag(&self, replica: &ReplicaState, now: Instant) -> Option<Duration> {
        if replica.is_current {
            return Some(Duration::ZERO);
        }
        let now = if self.primary.is_some() { now } else { self.primary_at.unwrap_or(now) };
        replica.had_all_at.map(|had_all| now.saturating_duration_since(had_all))
    }
}

/// What is kept between two snapshots.
#[derive(Debug, Default)]
pub struct Memory {
    system: Option<u64>,
    timeline: u32,
    /// The primary's positions, oldest first.
    track: VecDeque<(Instant, u64)>,
}

impl Memory {
    /// Learns of a timeline and returns whether it is newer. Primaries on older timelines are
    /// former primaries from now on.
    pub fn learn_timeline(&mut self, timeline: u32) -> bool {
        let is_news = timeline > self.timeline;
        if is_news {
            self.timeline = timeline;
            // Positions on another timeline can't be compared.
            self.track.clear();
        }
        is_news
    }

    /// Makes the snapshot. The first node in the list that answers determines the cluster.
    pub fn assess(&mut self, probe_results: &[Option<ProbeResult>]) -> TopologySnapshot {
        self.system =
            self.system.or_else(|| probe_results.iter().flatten().map(|it| it.system).next());
        let ours = |it: &ProbeResult| Some(it.system) == self.system;
        let seen =
            || probe_results.iter().enumerate().filter_map(|(node, it)| Some((node, (*it)?)));
        let foreign = seen().filter(|(_, it)| !ours(it)).map(|(node, _)| node).collect();
        let youngest = seen().filter(|(_, it)| ours(it)).map(|(_, it)| it.timeline).max();
        self.learn_timeline(youngest.unwrap_or_default());
        let system = self.system;
        let following: Vec<(usize, ProbeResult)> = seen()
            .filter(|(_, it)| Some(it.system) == system && it.timeline == self.timeline)
            .collect();
        let primary = following.iter().find(|(_, it)| it.is_primary);
        if let Some((_, primary)) = primary
            && self.track.back().is_none_or(|(at, _)| *at < primary.at)
        {
            self.track.push_back((primary.at, primary.number));
            if self.track.len() > REMEMBERED {
                self.track.pop_front();
            }
        }
        let replicas = following
            .iter()
            .filter(|(_, it)| !it.is_primary && (it.is_streaming || primary.is_none()))
            .map(|(node, it)| {
                let had_all = self.track.iter().rev().find(|(_, number)| *number <= it.number);
                let last = self.track.back();
                ReplicaState {
                    node: *node,
                    had_all_at: had_all.map(|(at, _)| *at),
                    is_current: last.is_some_and(|(_, number)| *number <= it.number),
                }
            })
            .collect();
        TopologySnapshot {
            system: self.system,
            timeline: self.timeline,
            primary: primary.map(|(node, _)| *node),
            replicas,
            foreign,
            primary_at: self.track.back().map(|(at, _)| *at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(is_primary: bool, timeline: u32, number: u64, at: Instant) -> Option<ProbeResult> {
        let (system, started, is_streaming) = (7, 1, !is_primary);
        Some(ProbeResult { system, started, is_primary, timeline, number, is_streaming, at })
    }

    #[test]
    fn an_older_primary_is_none() {
        let now = Instant::now();
        let mut memory = Memory::default();
        let snapshot = memory.assess(&[node(true, 1, 9, now), node(false, 1, 9, now)]);
        assert_eq!((snapshot.primary, snapshot.replicas.len()), (Some(0), 1));
        // The second node is promoted while the first one still takes writes.
        let snapshot = memory.assess(&[node(true, 1, 20, now), node(true, 2, 10, now)]);
        assert_eq!((snapshot.primary, snapshot.timeline), (Some(1), 2));
        // The new primary is gone. The former primary does not replace it.
        let snapshot = memory.assess(&[node(true, 1, 20, now), None]);
        assert_eq!((snapshot.primary, snapshot.replicas.len()), (None, 0));
    }

    #[test]
    fn a_learned_timeline_counts_before_a_node_of_it_is_seen() {
        let now = Instant::now();
        let mut memory = Memory::default();
        assert!(memory.learn_timeline(3));
        assert_eq!(memory.assess(&[node(true, 2, 9, now)]).primary, None);
        assert!(!memory.learn_timeline(2));
    }

    #[test]
    fn nodes_of_a_foreign_cluster_are_recognized() {
        let now = Instant::now();
        let foreign = node(true, 9, 9, now).map(|it| ProbeResult { system: 8, ..it });
        let snapshot = Memory::default().assess(&[node(true, 1, 9, now), foreign]);
        assert_eq!((snapshot.primary, snapshot.foreign), (Some(0), vec![1]));
    }

    #[test]
    fn lag_is_the_time_since_a_replica_had_everything() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut memory = Memory::default();
        for (at, number) in [(0, 10), (1, 20), (2, 30)] {
            memory.assess(&[node(true, 1, number, after(at)), node(false, 1, 20, after(at))]);
        }
        let snapshot = memory.assess(&[node(true, 1, 30, after(3)), node(false, 1, 25, after(3))]);
        let lag = snapshot.lag(&snapshot.replicas[0], after(5));
        assert_eq!(lag, Some(Duration::from_secs(4)), "it had everything at 1");
        let snapshot = memory.assess(&[None, node(false, 1, 25, after(9))]);
        let lag = snapshot.lag(&snapshot.replicas[0], after(60));
        assert_eq!(lag, Some(Duration::from_secs(2)), "nothing is written without a primary");
        let snapshot = memory.assess(&[None, node(false, 1, 30, after(9))]);
        assert_eq!(snapshot.lag(&snapshot.replicas[0], after(60)), Some(Duration::ZERO));
        let snapshot = memory.assess(&[node(true, 1, 30, after(61)), node(false, 1, 5, after(61))]);
        assert_eq!(snapshot.lag(&snapshot.replicas[0], after(61)), None, "no probe is that old");
    }
}

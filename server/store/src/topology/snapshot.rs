//! What the probe results of all nodes say together: who is the primary, and who follows it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::topology::probe::ProbeResult;

/// How many of the primary's positions are remembered: half a minute of them.
const REMEMBERED: usize = 120;

/// What is known of the nodes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologySnapshot {
    /// The cluster that all belong to; none until a node has been seen.
    pub system: Option<u64>,
    /// The youngest branch of history that anybody has told of.
    pub timeline: u32,
    /// The node that takes writes; none while there is none, or only one of an older branch.
    pub primary: Option<usize>,
    /// The nodes that follow it.
    pub replicas: Vec<ReplicaState>,
    /// Nodes of another cluster, which are never asked for anything.
    pub foreign: Vec<usize>,
    /// The last time that a primary was seen.
    pub primary_at: Option<Instant>,
}

/// A replica and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// Which node.
    pub node: usize,
    /// Up to when it had all that was written then; none if that is longer ago than anybody
    /// remembers.
    pub had_all_at: Option<Instant>,
    /// Whether that is all that is known to be written.
    pub is_current: bool,
}

impl TopologySnapshot {
    /// How far a replica lags: at most the time since it had everything. While there is no
    /// primary nothing is written, and it lags no further.
    pub fn lag(&self, replica: &ReplicaState, now: Instant) -> Option<Duration> {
        if replica.is_current {
            return Some(Duration::ZERO);
        }
        let now = if self.primary.is_some() { now } else { self.primary_at.unwrap_or(now) };
        replica.had_all_at.map(|had_all| now.saturating_duration_since(had_all))
    }
}

/// What is remembered from look to look.
#[derive(Debug, Default)]
pub struct Memory {
    system: Option<u64>,
    timeline: u32,
    /// The primary's positions, oldest first.
    track: VecDeque<(Instant, u64)>,
}

impl Memory {
    /// A younger timeline was learned: primaries of older ones are former primaries.
    /// Says whether that is news.
    pub fn learn_timeline(&mut self, timeline: u32) -> bool {
        let is_news = timeline > self.timeline;
        if is_news {
            self.timeline = timeline;
            // Positions of another branch are no measure.
            self.track.clear();
        }
        is_news
    }

    /// Makes the snapshot. The first node in the list's order that is seen says which cluster it
    /// is about.
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
        // The second is promoted, while the first still believes in itself.
        let snapshot = memory.assess(&[node(true, 1, 20, now), node(true, 2, 10, now)]);
        assert_eq!((snapshot.primary, snapshot.timeline), (Some(1), 2));
        // The new one is gone, and the old one isn't asked in its place.
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

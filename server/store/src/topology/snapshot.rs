//! The snapshot of all nodes: which one is the primary, and which ones follow it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::topology::probe::{PERIOD, ProbeResult};

/// How long positions of the primary are kept at least.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Positions of the primary are kept so close together that a lag is known to this part of it.
const PRECISION: u32 = 64;

/// How old the primary's position may be before replicas are asked for what they have received
/// from the primary.
const STALE_AFTER: Duration = PERIOD.saturating_mul(2);

/// How old the primary's position may be to count as the current one.
const CURRENT_FOR: Duration = PERIOD.saturating_mul(3);

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
    /// The time of the primary's last known position.
    pub known_at: Option<Instant>,
}

/// The progress of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// The index of the node.
    pub node: usize,
    /// The latest time at which the replica had everything that was written; `None` if that is
    /// longer ago than 30 s and than the greatest lag that the options allow.
    pub had_all_at: Option<Instant>,
    /// Whether the replica has everything that is known to be written.
    pub is_current: bool,
}

impl TopologySnapshot {
    /// The greatest possible lag of a replica: the time since it had everything. It grows while the
    /// primary's position is not known, since the primary may write then.
    pub fn lag(&self, replica: &ReplicaState, now: Instant) -> Option<Duration> {
        if replica.is_current && !self.is_stale(now) {
            return Some(Duration::ZERO);
        }
        replica.had_all_at.map(|had_all| now.saturating_duration_since(had_all))
    }

    /// The lag of a replica when the primary's position was known last, if that is no longer known.
    pub fn last_lag(&self, replica: &ReplicaState, now: Instant) -> Option<Duration> {
        let (known, had_all) = self.known_at.zip(replica.had_all_at)?;
        self.is_stale(now).then(|| known.saturating_duration_since(had_all))
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.known_at.is_none_or(|known| now.saturating_duration_since(known) > CURRENT_FOR)
    }
}

/// What is kept between two snapshots.
#[derive(Debug)]
pub struct Memory {
    /// How long positions of the primary are kept.
    remembered: Duration,
    system: Option<u64>,
    timeline: u32,
    /// The primary's positions, oldest first.
    track: VecDeque<(Instant, u64)>,
    /// When a probe has last found a primary.
    primary_at: Option<Instant>,
    /// The last primary and its timeline, until a successor is seen.
    primary: Option<(usize, u32)>,
}

impl Memory {
    /// `max_lag` is the greatest lag that has to be known.
    pub fn new(max_lag: Duration) -> Self {
        Self {
            remembered: max_lag.max(REMEMBERED),
            system: None,
            timeline: 0,
            track: VecDeque::new(),
            primary_at: None,
            primary: None,
        }
    }

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
            self.extend_track(primary.at, primary.number);
        }
        if let Some((_, primary)) = primary {
            self.primary_at = Some(primary.at);
        }
        // Only this process may fail to reach the primary. Its replicas know of newer positions.
        let unseen = |at: Instant| {
            let since = |seen| at.saturating_duration_since(seen) > STALE_AFTER;
            self.primary_at.is_none_or(since)
        };
        let received = following.iter().filter_map(|(_, it)| it.received);
        for (number, at) in received.filter(|(_, at)| unseen(*at)).collect::<Vec<_>>() {
            let is_news = |(last, known): &(Instant, u64)| {
                at.saturating_duration_since(*last) > PERIOD / 2 && number >= *known
            };
            if self.track.back().is_none_or(is_news) {
                self.extend_track(at, number);
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
            known_at: self.track.back().map(|(at, _)| *at),
        }
    }

    fn extend_track(&mut self, at: Instant, number: u64) {
        self.track.push_back((at, number));
        let age = |other: &(Instant, u64)| at.saturating_duration_since(other.0);
        let remembered = self.remembered;
        while self.track.front().is_some_and(|first| age(first) > remembered) {
            self.track.pop_front();
        }
        // The older, the farther apart.
        let mut index = 1;
        while index + 1 < self.track.len() {
            let (before, after) = (age(&self.track[index - 1]), age(&self.track[index + 1]));
            match before - after < (before / PRECISION).max(PERIOD) {
                true => drop(self.track.remove(index)),
                false => index += 1,
            }
        }
    }

    /// The last primary, once a snapshot shows its successor: another primary, or a newer timeline.
    /// A primary that doesn't answer has none.
    pub fn replaced(&mut self, snapshot: &TopologySnapshot) -> Option<usize> {
        let before = self.primary;
        if let Some(primary) = snapshot.primary {
            self.primary = Some((primary, snapshot.timeline));
        }
        let (old, timeline) = before.filter(|(old, _)| snapshot.primary != Some(*old))?;
        let has_successor = snapshot.primary.is_some() || snapshot.timeline > timeline;
        if has_successor && snapshot.primary.is_none() {
            self.primary = None;
        }
        has_successor.then_some(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(is_primary: bool, timeline: u32, number: u64, at: Instant) -> Option<ProbeResult> {
        let (system, started, is_streaming, received) = (7, 1, !is_primary, None);
        Some(ProbeResult {
            system,
            started,
            is_primary,
            timeline,
            number,
            is_streaming,
            received,
            at,
        })
    }

    fn memory() -> Memory {
        Memory::new(Duration::from_secs(1))
    }

    #[test]
    fn an_older_primary_is_none() {
        let now = Instant::now();
        let mut memory = memory();
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
        let mut memory = memory();
        assert!(memory.learn_timeline(3));
        assert_eq!(memory.assess(&[node(true, 2, 9, now)]).primary, None);
        assert!(!memory.learn_timeline(2));
    }

    #[test]
    fn nodes_of_a_foreign_cluster_are_recognized() {
        let now = Instant::now();
        let foreign = node(true, 9, 9, now).map(|it| ProbeResult { system: 8, ..it });
        let snapshot = memory().assess(&[node(true, 1, 9, now), foreign]);
        assert_eq!((snapshot.primary, snapshot.foreign), (Some(0), vec![1]));
    }

    #[test]
    fn only_a_successor_replaces_a_primary() {
        let now = Instant::now();
        let mut memory = memory();
        let mut assess = |probe_results: &[Option<ProbeResult>]| {
            let snapshot = memory.assess(probe_results);
            (snapshot.primary, memory.replaced(&snapshot))
        };
        let replica = node(false, 1, 9, now);
        assert_eq!(assess(&[node(true, 1, 9, now), replica]), (Some(0), None));
        assert_eq!(assess(&[None, replica]), (None, None), "it doesn't answer");
        assert_eq!(assess(&[node(true, 1, 9, now), replica]), (Some(0), None), "it is back");
        assert_eq!(assess(&[None, node(true, 2, 9, now)]), (Some(1), Some(0)));
        assert_eq!(assess(&[node(true, 1, 9, now), node(true, 2, 9, now)]), (Some(1), None));
        // A replica follows a primary that can't be seen.
        assert_eq!(assess(&[node(false, 3, 9, now), node(true, 2, 9, now)]), (None, Some(1)));
        assert_eq!(assess(&[node(false, 3, 9, now), None]), (None, None), "once");
    }

    #[test]
    fn lag_is_the_time_since_a_replica_had_everything() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut memory = memory();
        for (at, number) in [(0, 10), (1, 20), (2, 30)] {
            memory.assess(&[node(true, 1, number, after(at)), node(false, 1, 20, after(at))]);
        }
        let snapshot = memory.assess(&[node(true, 1, 30, after(3)), node(false, 1, 25, after(3))]);
        let replica = &snapshot.replicas[0];
        let (had_all, known) = (Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!(snapshot.lag(replica, after(5)), Some(Duration::from_secs(5) - had_all));
        assert_eq!(snapshot.last_lag(replica, after(5)), Some(known - had_all));
        assert_eq!(snapshot.last_lag(replica, after(3)), None, "the lag is known");
        let snapshot = memory.assess(&[node(true, 1, 30, after(4)), node(false, 1, 30, after(4))]);
        let replica = &snapshot.replicas[0];
        assert_eq!(snapshot.lag(replica, after(4)), Some(Duration::ZERO));
        // The primary doesn't answer and may write.
        let snapshot = memory.assess(&[None, node(false, 1, 30, after(9))]);
        let replica = &snapshot.replicas[0];
        assert_eq!(snapshot.lag(replica, after(60)), Some(Duration::from_secs(56)));
        assert_eq!(snapshot.last_lag(replica, after(60)), Some(Duration::ZERO));
        let snapshot = memory.assess(&[node(true, 1, 30, after(61)), node(false, 1, 5, after(61))]);
        assert_eq!(snapshot.lag(&snapshot.replicas[0], after(61)), None, "no probe is that old");
    }

    #[test]
    fn lag_is_known_as_far_as_it_is_allowed() {
        let begin = Instant::now();
        let (allowed, had_all) = (Duration::from_secs(3_600), Duration::from_secs(100));
        let mut memory = Memory::new(allowed);
        let mut lag = |after: Duration| {
            let at = begin + after;
            let number = |after: Duration| u64::try_from(after.as_millis()).unwrap_or_default();
            let replica = node(false, 1, number(had_all.min(after)), at);
            let snapshot = memory.assess(&[node(true, 1, number(after), at), replica]);
            let lag = snapshot.lag(&snapshot.replicas[0], at);
            assert!(memory.track.len() < 1_000, "{}", memory.track.len());
            lag
        };
        // Hurried probes too.
        for millis in 0..10_000 {
            assert_eq!(lag(Duration::from_millis(millis)), Some(Duration::ZERO));
        }
        let later = |round: u32| PERIOD * round;
        for after in (40..14_900).map(later) {
            let known = lag(after);
            match after.saturating_sub(had_all) {
                late if late > allowed => assert_eq!(known, None, "at {after:?}"),
                late if late < allowed * 9 / 10 => {
                    let near =
                        known.is_some_and(|lag| late <= lag && lag <= late * 21 / 20 + PERIOD);
                    assert!(near, "at {after:?}: {known:?}, not {late:?}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn replicas_show_what_an_unseen_primary_writes() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let replica = |seconds, replayed, received| {
            let received = Some((received, after(seconds)));
            node(false, 1, replayed, after(seconds)).map(|it| ProbeResult { received, ..it })
        };
        let mut memory = memory();
        memory.assess(&[node(true, 1, 10, after(0)), replica(0, 10, 10)]);
        let lag = |memory: &mut Memory, replica, seconds| {
            let snapshot = memory.assess(&[None, replica]);
            snapshot.lag(&snapshot.replicas[0], after(seconds))
        };
        // It follows the primary.
        assert_eq!(lag(&mut memory, replica(5, 20, 20), 5), Some(Duration::ZERO));
        assert_eq!(lag(&mut memory, replica(5, 20, 20), 7), Some(Duration::from_secs(2)));
        // It receives, but doesn't replay.
        assert_eq!(lag(&mut memory, replica(9, 20, 30), 9), Some(Duration::from_secs(4)));
        let snapshot = memory.assess(&[None, replica(9, 20, 30)]);
        let lag = snapshot.last_lag(&snapshot.replicas[0], after(20));
        assert_eq!(lag, Some(Duration::from_secs(4)), "it was known to be late");
    }
}

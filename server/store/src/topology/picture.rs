//! What the sightings of all nodes come to: who is the primary, and who follows it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::topology::sighting::Sighting;

/// How many of the primary's positions are remembered: half a minute of them.
const REMEMBERED: usize = 120;

/// What is known of the nodes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The cluster that all belong to; none until a node has been seen.
    pub system: Option<u64>,
    /// The youngest branch of history that anybody has told of.
    pub timeline: u32,
    /// The node that takes writes; none while there is none, or only one of an older branch.
    pub primary: Option<usize>,
    /// The nodes that follow it.
    pub replicas: Vec<Standing>,
    /// Nodes of another cluster, which are never asked for anything.
    pub strangers: Vec<usize>,
    /// The last time that a primary was seen.
    pub primary_at: Option<Instant>,
}

/// A replica and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which node.
    pub node: usize,
    /// Up to when it had all that was written then; none if that is longer ago than anybody
    /// remembers.
    pub had_all_at: Option<Instant>,
    /// Whether that is all that is known to be written.
    pub is_current: bool,
}

impl Picture {
    /// How far a replica lags: at most the time since it had everything. While there is no
    /// primary nothing is written, and it lags no further.
    pub fn lag(&self, standing: &Standing, now: Instant) -> Option<Duration> {
        if standing.is_current {
            return Some(Duration::ZERO);
        }
        let now = if self.primary.is_some() { now } else { self.primary_at.unwrap_or(now) };
        standing.had_all_at.map(|had_all| now.saturating_duration_since(had_all))
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
    /// Somebody has told of this branch of history: primaries of older ones are none any more.
    /// Says whether that is news.
    pub fn hear_of(&mut self, timeline: u32) -> bool {
        let is_news = timeline > self.timeline;
        if is_news {
            self.timeline = timeline;
            // Positions of another branch are no measure.
            self.track.clear();
        }
        is_news
    }

    /// Draws the picture. The first node in the list's order that is seen says which cluster it
    /// is about.
    pub fn assess(&mut self, sightings: &[Option<Sighting>]) -> Picture {
        self.system = self.system.or_else(|| sightings.iter().flatten().map(|it| it.system).next());
        let ours = |it: &Sighting| Some(it.system) == self.system;
        let seen = || sightings.iter().enumerate().filter_map(|(node, it)| Some((node, (*it)?)));
        let strangers = seen().filter(|(_, it)| !ours(it)).map(|(node, _)| node).collect();
        let youngest = seen().filter(|(_, it)| ours(it)).map(|(_, it)| it.timeline).max();
        self.hear_of(youngest.unwrap_or_default());
        let system = self.system;
        let following: Vec<(usize, Sighting)> = seen()
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
                Standing {
                    node: *node,
                    had_all_at: had_all.map(|(at, _)| *at),
                    is_current: last.is_some_and(|(_, number)| *number <= it.number),
                }
            })
            .collect();
        Picture {
            system: self.system,
            timeline: self.timeline,
            primary: primary.map(|(node, _)| *node),
            replicas,
            strangers,
            primary_at: self.track.back().map(|(at, _)| *at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(is_primary: bool, timeline: u32, number: u64, at: Instant) -> Option<Sighting> {
        let (system, started, is_streaming) = (7, 1, !is_primary);
        Some(Sighting { system, started, is_primary, timeline, number, is_streaming, at })
    }

    #[test]
    fn an_older_primary_is_none() {
        let now = Instant::now();
        let mut memory = Memory::default();
        let picture = memory.assess(&[node(true, 1, 9, now), node(false, 1, 9, now)]);
        assert_eq!((picture.primary, picture.replicas.len()), (Some(0), 1));
        // The second is promoted, while the first still believes in itself.
        let picture = memory.assess(&[node(true, 1, 20, now), node(true, 2, 10, now)]);
        assert_eq!((picture.primary, picture.timeline), (Some(1), 2));
        // The new one is gone, and the old one isn't asked in its place.
        let picture = memory.assess(&[node(true, 1, 20, now), None]);
        assert_eq!((picture.primary, picture.replicas.len()), (None, 0));
    }

    #[test]
    fn what_was_heard_of_counts_though_nobody_was_seen() {
        let now = Instant::now();
        let mut memory = Memory::default();
        assert!(memory.hear_of(3));
        assert_eq!(memory.assess(&[node(true, 2, 9, now)]).primary, None);
        assert!(!memory.hear_of(2));
    }

    #[test]
    fn strangers_are_told_apart() {
        let now = Instant::now();
        let stranger = node(true, 9, 9, now).map(|it| Sighting { system: 8, ..it });
        let picture = Memory::default().assess(&[node(true, 1, 9, now), stranger]);
        assert_eq!((picture.primary, picture.strangers), (Some(0), vec![1]));
    }

    #[test]
    fn lag_is_the_time_since_a_replica_had_everything() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut memory = Memory::default();
        for (at, number) in [(0, 10), (1, 20), (2, 30)] {
            memory.assess(&[node(true, 1, number, after(at)), node(false, 1, 20, after(at))]);
        }
        let picture = memory.assess(&[node(true, 1, 30, after(3)), node(false, 1, 25, after(3))]);
        let lag = picture.lag(&picture.replicas[0], after(5));
        assert_eq!(lag, Some(Duration::from_secs(4)), "it had everything at 1");
        let picture = memory.assess(&[None, node(false, 1, 25, after(9))]);
        let lag = picture.lag(&picture.replicas[0], after(60));
        assert_eq!(lag, Some(Duration::from_secs(2)), "nothing is written without a primary");
        let picture = memory.assess(&[None, node(false, 1, 30, after(9))]);
        assert_eq!(picture.lag(&picture.replicas[0], after(60)), Some(Duration::ZERO));
        let picture = memory.assess(&[node(true, 1, 30, after(61)), node(false, 1, 5, after(61))]);
        assert_eq!(picture.lag(&picture.replicas[0], after(61)), None, "nobody remembers");
    }
}

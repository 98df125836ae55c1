//! The ejection of a node: reads pass over it for a while, since their connections to it were lost
//! (Envoy: outlier ejection).

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;

use crate::{telemetry::meters::NODE_BANS, topology::node::Node};

/// How long a node is ejected after its first failure. The time doubles with each further one.
const FIRST_BAN: Duration = Duration::from_millis(250);

/// The longest ejection.
const LONGEST_BAN: Duration = Duration::from_secs(30);

/// The time without a failure after which the ejection time starts from its first value again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// The failures of reads on a node.
#[derive(Debug, Default)]
pub(super) struct Failures {
    times: u32,
    last: Option<Instant>,
    out_until: Option<Instant>,
}

impl Node {
    /// Ejects the node for a while, since a read has failed on it that may succeed elsewhere.
    pub(super) fn failed(&self) {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.out_until.is_some_and(|until| until > now) {
            // Concurrent failures count as one.
            return;
        }
        if failures.last.is_none_or(|last| now.duration_since(last) > FORGIVEN) {
            failures.times = 0;
        }
        let ban = FIRST_BAN.saturating_mul(1 << failures.times.min(10)).min(LONGEST_BAN);
        *failures =
            Failures { times: failures.times + 1, last: Some(now), out_until: Some(now + ban) };
        drop(failures);
        tracing::warn!(node = %self.name, ?ban, "reads fail on this node: it is ejected");
        NODE_BANS.add(1, &[KeyValue::new("node", self.name.to_string())]);
        self.wake.notify_one();
    }

    /// Whether the node is ejected: the ejection time is not over, or no probe has succeeded since.
    /// A node that doesn't answer is no ejected one by that alone.
    pub(crate) fn is_ejected(&self) -> bool {
        let answered = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.out_until.is_some_and(|until| until > Instant::now())
            || failures.last.is_some_and(|last| answered.is_none_or(|seen| seen.at < last))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        pool::PoolOptions,
        session::{connect::Connector, statement_log::StatementLog},
        topology::{
            nodes::{Topology, TopologyOptions},
            probe::{PERIOD, PROBE_TIMEOUT, ProbeResult},
            snapshot::TopologySnapshot,
        },
    };

    fn node() -> Arc<Node> {
        let (url, log) = ("sqlite::memory:", StatementLog::default());
        let pools = |_: &Connector| (PoolOptions::default(), None);
        Node::new("node", url, log, PROBE_TIMEOUT, false, pools).expect("a node")
    }

    #[test]
    fn node_is_ejected_until_its_time_is_over_and_a_probe_succeeds() {
        let node = node();
        assert!(!node.is_ejected(), "it has not answered, and no read has failed");
        node.failed();
        let now = Instant::now();
        let answered = |at| {
            let (is_primary, received) = (false, None);
            let (system, started, timeline, number, is_streaming) = (7, 1, 1, 9, true);
            let answer = ProbeResult {
                system,
                started,
                is_primary,
                timeline,
                number,
                is_streaming,
                received,
                at,
            };
            *node.last.lock().expect("a lock") = Some(answer);
        };
        answered(now + FIRST_BAN);
        assert!(node.is_ejected(), "its time is not over");
        node.failures.lock().expect("a lock").out_until = Some(now);
        assert!(!node.is_ejected(), "its time is over, though it is gone now");
        answered(now - PERIOD);
        assert!(node.is_ejected(), "no probe has succeeded since");
    }

    #[test]
    fn at_most_half_of_the_nodes_are_ejected_and_never_the_primary() {
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

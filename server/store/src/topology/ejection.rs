//! The ejection of a node: reads pass over it for a while, since their connections to it were lost
//! (Envoy: outlier ejection).

use std::time::{Duration, Instant};

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

impl Failures {
    /// Notes a failure, and returns how long the node is ejected; `None` if it is already.
    /// Concurrent failures count as one.
    pub(super) fn note(&mut self, now: Instant) -> Option<Duration> {
        if self.out_until.is_some_and(|until| until > now) {
            return None;
        }
        if self.last.is_none_or(|last| now.duration_since(last) > FORGIVEN) {
            self.times = 0;
        }
        let ban = FIRST_BAN.saturating_mul(1 << self.times.min(10)).min(LONGEST_BAN);
        *self = Self { times: self.times + 1, last: Some(now), out_until: Some(now + ban) };
        Some(ban)
    }

    /// Whether the node is ejected: the ejection time is not over, or no probe has succeeded since.
    /// `answered` is when the last successful probe began. A node that doesn't answer is not
    /// ejected by that alone.
    pub(super) fn is_ejected(&self, now: Instant, answered: Option<Instant>) -> bool {
        self.out_until.is_some_and(|until| until > now)
            || self.last.is_some_and(|last| answered.is_none_or(|answered| answered < last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_ejected_until_its_time_is_over_and_a_probe_succeeds() {
        let mut failures = Failures::default();
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        assert!(!failures.is_ejected(begin, None), "it has not answered, and no read has failed");
        assert_eq!(failures.note(after(10)), Some(FIRST_BAN));
        assert_eq!(failures.note(after(20)), None, "one failure");
        assert!(failures.is_ejected(after(200), Some(after(100))), "its time is not over");
        assert!(failures.is_ejected(after(300), Some(begin)), "no probe has succeeded since");
        assert!(failures.is_ejected(after(300), None), "it has never answered");
        let much_later = after(1_000_000);
        assert!(!failures.is_ejected(much_later, Some(after(100))), "it may be gone by now");
        assert_eq!(failures.note(after(300)), Some(2 * FIRST_BAN));
        assert_eq!(failures.note(much_later), Some(FIRST_BAN), "forgiven");
    }
}

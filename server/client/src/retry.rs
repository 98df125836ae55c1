//! When a failed attempt is repeated, and when a client stops doing so (gRFC A6).

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use rand::Rng;

use crate::service_config::{RetryPolicy, RetryThrottling};

/// By how much a pause is shortened or lengthened at random, so that clients that failed together
/// don't retry together.
const JITTER: f64 = 0.2;

impl RetryPolicy {
    /// The pause before the attempt with this number, the second one being 2, with jitter.
    pub(crate) fn backoff(&self, attempt: u32) -> Duration {
        let doublings = i32::try_from(attempt.saturating_sub(2)).unwrap_or(i32::MAX);
        let factor = self.backoff_multiplier.powi(doublings);
        let pause = self.initial_backoff.as_secs_f64() * factor;
        let pause = pause.min(self.max_backoff.as_secs_f64());
        jittered(Duration::from_secs_f64(pause))
    }
}

/// A pause, shortened or lengthened at random.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(1.0 - JITTER..1.0 + JITTER))
}

/// A pause that the service asked for. It is never shortened, and lengthened at random.
pub(crate) fn pushback(asked: Duration) -> Duration {
    asked.mul_f64(rand::rng().random_range(1.0..1.0 + JITTER))
}

/// The tokens of a client's retries, in thousandths.
#[derive(Debug)]
pub(crate) struct Throttle {
    tokens: AtomicI64,
    most: i64,
    ratio: i64,
}

impl Throttle {
    pub(crate) fn new(config: RetryThrottling) -> Self {
        let most = i64::from(config.max_tokens) * 1_000;
        #[expect(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
        let ratio = (config.token_ratio * 1_000.0) as i64;
        Self { tokens: AtomicI64::new(most), most, ratio }
    }

    /// Counts a failure and returns whether a retry is allowed.
    pub(crate) fn failed(&self) -> bool {
        self.change(-1_000) > self.most / 2
    }

    /// Counts a success.
    pub(crate) fn succeeded(&self) {
        self.change(self.ratio);
    }

    /// Changes the tokens within their bounds and returns the new count.
    fn change(&self, by: i64) -> i64 {
        let next = |tokens: i64| (tokens + by).clamp(0, self.most);
        let order = Ordering::Relaxed;
        let before = self.tokens.fetch_update(order, order, |tokens| Some(next(tokens)));
        next(before.unwrap_or_default())
    }
}

/// The pauses between attempts to do what has no number of attempts, such as to connect or to
/// resume a broken stream: each is twice the one before, up to the longest.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause, without jitter.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let policy = RetryPolicy {
            max_attempts: 5,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(300),
            backoff_multiplier: 2.0,
            retryable_status_codes: vec![Code::Unavailable],
        };
        for (attempt, millis) in [(2, 100.0), (3, 200.0), (4, 300.0), (40, 300.0)] {
            for _ in 0..20 {
                let pause = policy.backoff(attempt).as_secs_f64() * 1e3;
                assert!((millis * 0.8..=millis * 1.2).contains(&pause), "{attempt}: {pause}");
            }
        }
        let asked = Duration::from_millis(50);
        assert!((asked..asked * 2).contains(&pushback(asked)));
    }

    #[test]
    fn retries_stop_at_half_of_the_tokens() {
        let throttle = Throttle::new(RetryThrottling { max_tokens: 4, token_ratio: 0.5 });
        assert!(throttle.failed());
        assert!(!throttle.failed(), "half of them are left");
        throttle.succeeded();
        assert!(!throttle.failed());
        for _ in 0..4 {
            throttle.succeeded();
        }
        assert!(throttle.failed());
        for _ in 0..10 {
            throttle.failed();
        }
        assert_eq!(throttle.tokens.load(Ordering::Relaxed), 0);
        for _ in 0..100 {
            throttle.succeeded();
        }
        assert_eq!(throttle.tokens.load(Ordering::Relaxed), 4_000);
    }
}

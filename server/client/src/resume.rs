//! The pauses before a broken stream is resumed. The client never retries streams: only the caller
//! knows where to resume.

use std::time::{Duration, Instant};

use crate::{error::Error, retry::Backoff};

/// The shortest and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long to retry a stream, counted from its last progress.
#[derive(Clone, Debug)]
pub struct ResumeTimer {
    timeout: Duration,
    failing: Option<Instant>,
    backoff: Backoff,
}

impl ResumeTimer {
    /// A timer of this length. Zero means no second attempt.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, failing: None, backoff: Backoff::new(PAUSES.0, PAUSES.1) }
    }

    /// Notes that the stream made progress: the time begins anew.
    pub fn reset(&mut self) {
        self.failing = None;
        self.backoff.reset();
    }

    /// Whether nothing has failed since the last progress.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.failing.is_none()
    }

    /// How long to wait before the stream is opened again: 100 ms, twice as long each time, 5 s at
    /// most, and no shorter than the service asks for ([`Error::retry_delay`]), up to 5 s. None if
    /// the time is over or the failure is not transient. `error` is none where the stream ended
    /// without one.
    pub fn pause(&mut self, error: Option<&Error>) -> Option<Duration> {
        let failing = self.failing.get_or_insert_with(Instant::now).elapsed();
        let left = self.timeout.checked_sub(failing).filter(|left| !left.is_zero())?;
        if error.is_some_and(|error| !error.is_transient()) {
            return None;
        }
        let asked = error.and_then(Error::retry_delay).unwrap_or_default();
        Some(self.backoff.pause().max(asked).min(PAUSES.1).min(left))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn the_timer_ends_and_restarts_at_progress() {
        let mut timer = ResumeTimer::new(Duration::from_secs(60));
        let lost = Error::of_client(Code::Unavailable, "");
        assert!(timer.is_fresh());
        assert_eq!(timer.pause(Some(&lost)), Some(PAUSES.0));
        assert_eq!(timer.pause(None), Some(PAUSES.0 * 2));
        assert!(!timer.is_fresh());
        for _ in 0..10 {
            assert!(timer.pause(Some(&lost)).unwrap() <= PAUSES.1);
        }
        timer.reset();
        assert_eq!(timer.pause(Some(&lost)), Some(PAUSES.0));
        assert_eq!(timer.pause(Some(&Error::of_client(Code::InvalidArgument, ""))), None);
        assert_eq!(ResumeTimer::new(Duration::ZERO).pause(Some(&lost)), None);
    }
}

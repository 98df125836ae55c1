//! Which failures pass by themselves, and how long to wait for that.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Whether the same call may do better in a while: the connection broke, the service or
/// its database is away, a transaction collided, or nobody knows whether it was committed.
#[must_use]
pub fn is_transient(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    matches!(status.code(), Code::Unavailable | Code::Aborted)
        || status.get_details_retry_info().is_some()
        || reason.as_deref() == Some("COMMIT_OUTCOME_UNKNOWN")
        // The transport's own: it holds what went wrong underneath. The service's
        // answers come without, and all of them have a reason.
        || (reason.is_none() && std::error::Error::source(status).is_some())
        || (reason.is_none() && matches!(status.code(), Code::Cancelled | Code::Unknown))
}

/// What a failed call says to people.
#[must_use]
pub fn describe(status: &Status) -> String {
    let source = std::error::Error::source(status).map(ToString::to_string);
    let source = source.filter(|source| !status.message().contains(source));
    let source = source.map(|source| format!(" ({source})")).unwrap_or_default();
    format!("{:?}: {}{source}", status.code(), status.message())
}

/// How long to go on trying, counted from the last success.
#[derive(Debug)]
pub struct Patience {
    whole: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Patience of this length.
    #[must_use]
    pub fn new(whole: Duration) -> Self {
        Self { whole, since: None, pause: SHORTEST }
    }

    /// Something went well: all of the patience is there again.
    pub fn restore(&mut self) {
        (self.since, self.pause) = (None, SHORTEST);
    }

    /// Whether nothing has failed since the last success.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.since.is_none()
    }

    /// How long to wait after this failure, which the service may have told; none when the
    /// patience is at its end.
    pub fn pause(&mut self, status: Option<&Status>) -> Option<Duration> {
        let failing = self.since.get_or_insert_with(Instant::now).elapsed();
        let left = self.whole.checked_sub(failing).filter(|left| !left.is_zero())?;
        let asked = status.and_then(StatusExt::get_details_retry_info);
        let asked = asked.and_then(|info| info.retry_delay);
        let pause = self.pause.max(asked.unwrap_or_default()).min(LONGEST).min(left);
        self.pause = (self.pause * 2).min(LONGEST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test plays the service")]
    fn status(code: Code) -> Status {
        Status::new(code, "")
    }

    #[test]
    fn patience_ends_and_comes_back() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let lost = status(Code::Unavailable);
        assert!(is_transient(&lost) && !is_transient(&status(Code::InvalidArgument)));
        assert_eq!(patience.pause(Some(&lost)), Some(SHORTEST));
        assert_eq!(patience.pause(Some(&lost)), Some(SHORTEST * 2));
        for _ in 0..10 {
            assert!(patience.pause(Some(&lost)).unwrap() <= LONGEST);
        }
        patience.restore();
        assert_eq!(patience.pause(Some(&lost)), Some(SHORTEST));
        assert_eq!(Patience::new(Duration::ZERO).pause(Some(&lost)), None);
    }
}

//! Deadlines of calls.

use std::time::{Duration, Instant};

/// The time after which the caller doesn't wait for the answer any more. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline.
    pub const NONE: Self = Self(None);

    /// The later of two deadlines; none if one of them is none.
    pub(crate) fn later(self, other: Self) -> Self {
        Self(self.0.zip(other.0).map(|(one, other)| one.max(other)))
    }

    /// A deadline after this time from now.
    pub fn after(duration: Duration) -> Self {
        // A time that the clock can't represent is no deadline.
        Self(Instant::now().checked_add(duration))
    }

    /// The time itself; `None` without a deadline.
    pub fn instant(self) -> Option<Instant> {
        self.0
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|instant| instant <= Instant::now())
    }

    /// The time that is left, at most `cap`; zero after the deadline.
    pub fn remaining(self, cap: Duration) -> Duration {
        self.0.map_or(cap, |instant| instant.saturating_duration_since(Instant::now()).min(cap))
    }
}

//! How long a call may take.

use std::time::{Duration, Instant};

/// The moment after which the caller doesn't wait for the answer; none means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline.
    pub const NONE: Self = Self(None);

    /// The deadline this long from now.
    pub fn after(duration: Duration) -> Self {
        // A duration beyond what the clock can hold is no deadline.
        Self(Instant::now().checked_add(duration))
    }

    /// The moment itself.
    pub fn instant(self) -> Option<Instant> {
        self.0
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|instant| instant <= Instant::now())
    }

    /// What is left, at most `cap`; zero once it has passed.
    pub fn remaining(self, cap: Duration) -> Duration {
        self.0.map_or(cap, |instant| instant.saturating_duration_since(Instant::now()).min(cap))
    }
}

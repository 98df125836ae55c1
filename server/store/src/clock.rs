//! The wall clock. No other file of the store reads it.

use chrono::{DateTime, SubsecRound, Utc};

/// The current time in UTC, cut to microseconds, PostgreSQL's precision.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

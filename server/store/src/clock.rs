//! The only place of the store that reads the clock of the calendar.

use chrono::{DateTime, SubsecRound, Utc};

/// The current time in UTC, cut to microseconds: PostgreSQL keeps no more.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

//! The wall clock. No other file of the store reads it.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// The last time that was given out, in microseconds since 1970.
static LAST: AtomicI64 = AtomicI64::new(i64::MIN);

/// The current time in UTC, cut to microseconds, PostgreSQL's precision. Each call returns a later
/// time than all calls before it, also if the clock is set back: the times of changes have the order
/// in which this program has made them.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> DateTime<Utc> {
    let clock = Utc::now();
    next(&LAST, clock.timestamp_micros()).unwrap_or(clock)
}

/// The time to give out when the clock shows `clock`.
fn next(last: &AtomicI64, clock: i64) -> Option<DateTime<Utc>> {
    let later = |last: i64| clock.max(last.saturating_add(1));
    let before = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
    DateTime::from_timestamp_micros(later(before.unwrap_or_else(|last| last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_when_the_clock_is_set_back() {
        let last = AtomicI64::new(i64::MIN);
        let given = |clock| next(&last, clock).map(|time| time.timestamp_micros());
        assert_eq!(given(1_000), Some(1_000));
        assert_eq!(given(1_000), Some(1_001), "twice in a microsecond");
        assert_eq!(given(10), Some(1_002), "set back");
        assert_eq!(given(2_000), Some(2_000));
    }
}

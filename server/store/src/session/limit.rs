//! The server's limit of connections: after it has refused one, openings are tried one at a time,
//! with a growing pause.

use std::time::{Duration, Instant};

use sea_orm::{DbErr, RuntimeErr};

use crate::error::StoreError;

/// The pause after the first refusal. It doubles with each further one in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The time after the last refusal in which openings are tried one at a time.
const REMEMBERED: Duration = Duration::from_secs(5);

/// What a pool knows of the server's limit of connections.
#[derive(Debug, Default)]
pub(crate) struct OpeningLimit {
    /// The refusals since the last opening that succeeded.
    refusals: u32,
    last: Option<Instant>,
    /// Whether an opening is being tried.
    is_trying: bool,
}

impl OpeningLimit {
    /// Whether an opening may begin now. Its end is to be noted.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if self.last.is_none_or(|last| now.duration_since(last) >= REMEMBERED) {
            return true;
        }
        let allowed = !self.is_trying && self.next(now).is_zero();
        self.is_trying |= allowed;
        allowed
    }

    /// The time until the next opening may be tried.
    pub(crate) fn next(&self, now: Instant) -> Duration {
        let Some(last) = self.last.filter(|_| self.refusals > 0) else { return Duration::ZERO };
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.refusals - 1).min(8)).min(LONGEST_PAUSE);
        pause.saturating_sub(now.duration_since(last))
    }

    /// Notes the end of an opening, whatever came of it.
    pub(crate) fn ended(&mut self) {
        self.is_trying = false;
    }

    /// Notes an opening that succeeded.
    pub(crate) fn opened(&mut self) {
        self.refusals = 0;
    }

    /// Notes an opening that the server has refused because of its limit. Concurrent ones count as
    /// one.
    pub(crate) fn refused(&mut self, now: Instant) {
        if self.next(now).is_zero() {
            self.refusals = self.refusals.saturating_add(1);
            self.last = Some(now);
        }
    }
}

/// The text of an opening that has not ended in time.
const LATE_OPENING: &str = "opening a connection took too long";

/// The error of an opening that has not ended in time: of a server that hangs, or of a pooler that
/// lets it wait.
pub(crate) fn late_opening() -> StoreError {
    StoreError::Unavailable(DbErr::Custom(LATE_OPENING.into()))
}

/// Whether an error is that of an opening that has not ended in time.
pub(crate) fn is_late_opening(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(DbErr::Custom(text)) if text == LATE_OPENING)
}

/// Whether the server, or a pooler, has refused a connection because it has too many: SQLSTATE
/// 53300 (PostgreSQL, Appendix A), or PgBouncer's `max_client_conn`.
pub(crate) fn is_of_limit(error: &StoreError) -> bool {
    let StoreError::Unavailable(DbErr::Conn(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == "53300")
            || error.message().contains("no more connections allowed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_tried_one_at_a_time_with_a_growing_pause() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut limit = OpeningLimit::default();
        assert!(limit.allows(at(0)) && limit.allows(at(0)), "no limit is known");
        limit.refused(at(0));
        limit.refused(at(1));
        assert_eq!(limit.next(at(0)), FIRST_PAUSE, "concurrent refusals are one");
        assert!(!limit.allows(at(49)));
        assert!(limit.allows(at(50)) && !limit.allows(at(50)), "one at a time");
        limit.ended();
        limit.refused(at(50));
        assert!(!limit.allows(at(149)) && limit.allows(at(150)), "the pause has doubled");
        limit.ended();
        limit.opened();
        assert!(limit.allows(at(151)) && !limit.allows(at(151)), "still one at a time");
        assert!(limit.allows(at(5_050)) && limit.allows(at(5_050)), "it is forgotten");
    }
}

//! Waiting for a condition rather than for time.

use std::time::Duration;

use crate::Stopwatch;

/// The limit of a wait for something that comes by itself: far more than it takes on a machine
/// that is ten times busier than a test needs. A limit that is part of what a test says is
/// measured by a [`Stopwatch`](crate::Stopwatch) instead.
pub const SOON: Duration = Duration::from_mins(2);

/// How often a condition is checked that can't be listened for.
const PERIOD: Duration = Duration::from_millis(5);

/// Waits until a condition holds, checking it again and again.
///
/// # Panics
/// If it doesn't hold within `limit`; the message says what was waited for.
pub async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(PERIOD).await;
        }
    };
    assert!(tokio::time::timeout(limit, held).await.is_ok(), "not within {limit:?}: {what}");
}

/// Waits until a condition holds that has to hold within a limit on an idle machine: on a busy
/// one the limit is stretched, see [`Stopwatch`].
///
/// # Panics
/// If it doesn't; the message says what was waited for.
pub async fn until_within(what: &str, limit: Duration, holds: impl AsyncFnMut() -> bool) {
    let watch = Stopwatch::start();
    until(what, SOON, holds).await;
    let took = watch.stop();
    assert!(took.at_most(limit), "not within {limit:?}, but after {took:?}: {what}");
}

//! Waits for conditions instead of fixed times.

use std::time::Duration;

use crate::Stopwatch;

/// The timeout for an event that happens by itself: far more than it takes on a machine ten times
/// busier than a test needs. A limit that is part of a test's claim is measured by a
/// [`Stopwatch`](crate::Stopwatch) instead.
pub const SOON: Duration = Duration::from_mins(2);

/// The interval between checks of a condition that can't be subscribed to.
const PERIOD: Duration = Duration::from_millis(5);

/// Waits until a condition holds, by repeated checks.
///
/// # Panics
/// If it doesn't hold within `limit`. The message names the condition.
pub async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(PERIOD).await;
        }
    };
    assert!(tokio::time::timeout(limit, held).await.is_ok(), "not within {limit:?}: {what}");
}

/// Waits until a condition holds within a limit that is meant for an idle machine. On a busy one
/// the limit is stretched, see [`Stopwatch`].
///
/// # Panics
/// If it doesn't. The message names the condition.
pub async fn until_within(what: &str, limit: Duration, holds: impl AsyncFnMut() -> bool) {
    let watch = Stopwatch::start();
    until(what, SOON, holds).await;
    let took = watch.stop();
    assert!(took.at_most(limit), "not within {limit:?}, but after {took:?}: {what}");
}

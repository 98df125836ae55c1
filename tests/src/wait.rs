//! Waiting for a condition rather than for time.

use std::time::Duration;

/// How often a condition is looked at that can't be listened for.
const PERIOD: Duration = Duration::from_millis(5);

/// Waits until a condition holds, looking at it again and again.
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

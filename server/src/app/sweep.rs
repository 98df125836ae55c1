//! The deletion of old idempotency keys, and the count of what is stored under the others.

use std::{sync::Arc, time::Duration};

use bookstore_store::{CountKeys, Deadline, Freshness, Limit, Store};
use tokio::time::sleep;

use crate::budget::Budget;

/// Deletes old idempotency keys, for as long as the program runs.
pub(super) async fn sweep(store: Store, retention: Duration, budget: Arc<Budget>) {
    // Ten times in their life, so that few are kept much longer than they have to be.
    let pause = (retention / 10).clamp(Duration::from_millis(200), Duration::from_mins(10));
    loop {
        let counted =
            store.read(Freshness::Strong, Deadline::NONE, Limit::Statement, None, &CountKeys);
        if let Ok((keys, bytes)) = counted.await.result {
            budget.set_stored(keys, bytes);
        }
        sleep(pause).await;
        match store.sweep_keys(retention).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "old idempotency keys are deleted"),
            // The database is away, or its schema isn't there yet: there is always a next time.
            Err(error) => tracing::debug!(error = error.report(), "old idempotency keys stay"),
        }
    }
}

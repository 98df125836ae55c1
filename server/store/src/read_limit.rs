//! The limits of reads: their duration, and the number of queries that scan.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep_until, timeout},
};

use crate::{deadline::Deadline, error::StoreError};

/// The limits of reads.
pub(crate) struct ReadLimits {
    /// How long a read of a single call may take.
    pub timeout: Duration,
    /// How long a query that scans waits for a permit.
    pub wait: Duration,
    /// One permit for each query that scans.
    pub scans: Arc<Semaphore>,
}

impl ReadLimits {
    /// Waits for a permit of a query that scans.
    pub(crate) async fn scan(
        &self,
        deadline: Deadline,
    ) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        let wait = deadline.remaining(self.wait);
        match timeout(wait, self.scans.clone().acquire_owned()).await {
            Ok(permit) => Ok(permit.ok()),
            Err(_) if deadline.has_passed() => Err(StoreError::DeadlineExceeded),
            Err(_) => Err(StoreError::PoolTimeout {
                waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }
}

/// How long a read may take, besides its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As long as a statement: the read belongs to an export or an import.
    Statement,
    /// As long as a read of a single call ([`StoreOptions::read_timeout`](crate::StoreOptions::read_timeout)).
    Call,
}

/// Waits until a deadline has passed.
pub(crate) async fn passed(deadline: Deadline) {
    match deadline.instant() {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

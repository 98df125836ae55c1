//! The limits of reads: how long one may take, and how many may scan at a time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{deadline::Deadline, error::StoreError};

/// How long a read may take, besides its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As long as a statement: the read belongs to an export or an import.
    Statement,
    /// As long as the read of a unary call.
    Call,
}

/// The limits of the reads of one store.
pub(crate) struct ReadLimits {
    timeout: Duration,
    wait: Duration,
    scans: Arc<Semaphore>,
}

impl ReadLimits {
    /// `timeout` is that of unary reads. Half of the node's `readers` connections may run queries
    /// that scan; one that finds none free waits for `wait`, as it would in the pool.
    pub(crate) fn new(timeout: Duration, wait: Duration, readers: u32) -> Self {
        // A single connection is not shared: its queries wait in the pool.
        let scans = if readers < 2 { Semaphore::MAX_PERMITS } else { readers as usize / 2 };
        Self { timeout, wait, scans: Arc::new(Semaphore::new(scans)) }
    }

    /// When a read that begins now ends.
    pub(crate) fn end(&self, limit: Limit) -> Deadline {
        match limit {
            Limit::Statement => Deadline::NONE,
            Limit::Call => Deadline::after(self.timeout),
        }
    }

    /// Waits for a permit of a query that scans.
    ///
    /// # Errors
    /// [`StoreError::PoolTimeout`], [`StoreError::DeadlineExceeded`].
    pub(crate) async fn scan(
        &self,
        deadline: Deadline,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let wait = deadline.remaining(self.wait);
        match timeout(wait, self.scans.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| StoreError::internal("nothing closes the permits")),
            Err(_) if deadline.has_passed() => Err(StoreError::DeadlineExceeded),
            Err(_) => Err(StoreError::PoolTimeout {
                waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }
}

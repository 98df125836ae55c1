//! What the sessions to a node have found out about its database.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long an answer holds that commits wait for no replica. An operator, or a program such as
/// Patroni, may set `synchronous_standby_names` at any time.
const ASYNCHRONOUS_FOR: Duration = Duration::from_secs(1);

/// What the sessions to a node have found out about its database.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    is_read_only: AtomicBool,
    is_disk_full: AtomicBool,
    /// When the node has last answered that commits wait for no replica.
    asynchronous_at: Mutex<Option<Instant>>,
}

impl Condition {
    /// Whether an operator has made transactions read-only by default, as the last session has
    /// found.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Acquire)
    }

    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        self.is_read_only.store(is_read_only, Ordering::Release);
    }

    /// Whether a statement has failed for want of room on the disk, and none has been written
    /// since to try it.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.is_disk_full.load(Ordering::Acquire)
    }

    pub(crate) fn set_disk_full(&self, is_full: bool) {
        self.is_disk_full.store(is_full, Ordering::Release);
    }

    /// Whether the node has said within the last second that commits wait for no replica
    /// (PostgreSQL, 27.2.8. Synchronous Replication).
    pub(crate) fn is_asynchronous(&self) -> bool {
        let at = *self.asynchronous_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < ASYNCHRONOUS_FOR)
    }

    /// Notes the node's answer.
    pub(crate) fn set_asynchronous(&self, is_asynchronous: bool) {
        let at = is_asynchronous.then(Instant::now);
        *self.asynchronous_at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

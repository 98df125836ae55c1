//! What the sessions to a node have found out about its database.

use std::sync::atomic::{AtomicBool, Ordering};

/// What the sessions to a node have found out about its database.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    is_read_only: AtomicBool,
    is_disk_full: AtomicBool,
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
}

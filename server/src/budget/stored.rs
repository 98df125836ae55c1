//! The count of what is stored under idempotency keys.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What is stored under idempotency keys, about: writes that were rolled back count until the
/// next recount.
#[derive(Debug, Default)]
pub(super) struct Stored {
    keys: AtomicUsize,
    bytes: AtomicUsize,
}

impl Stored {
    /// Counts one more key, unless that is too much.
    pub(super) fn grow(&self, bytes: usize, most_keys: usize, most_bytes: usize) -> bool {
        let keys = self.keys.fetch_add(1, Ordering::Relaxed);
        let used = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = keys < most_keys && used.saturating_add(bytes) <= most_bytes;
        if !has_room {
            self.give_back(bytes);
        }
        has_room
    }

    /// Counts one key less.
    pub(super) fn give_back(&self, bytes: usize) {
        let fewer = |by| move |count: usize| Some(count.saturating_sub(by));
        let _ = self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer(1));
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer(bytes));
    }

    pub(super) fn set(&self, keys: usize, bytes: usize) {
        self.keys.store(keys, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

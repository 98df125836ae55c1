//! The memory of the rows that a call has read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Account, Held, Side};

/// The memory of the rows that a call has read, until its answer is encoded.
#[derive(Debug)]
pub struct RowCharge(Mutex<Held>);

impl RowCharge {
    /// Nothing is read yet.
    pub fn new(account: &Account) -> Arc<Self> {
        Arc::new(Self(Mutex::new(account.nothing(Side::Answered))))
    }

    /// Takes so many bytes more; false where there is no room.
    pub fn grow(&self, bytes: usize) -> bool {
        self.held().try_grow(bytes)
    }

    /// Gives all back.
    pub fn reset(&self) {
        self.held().set(0);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

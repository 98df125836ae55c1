//! The state of a connection: outside a transaction, inside one, or inside a failed one.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::telemetry::meters;

/// The transaction state of a session (PostgreSQL, 55.2. Message Flow: ReadyForQuery).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TransactionState {
    /// Outside a transaction.
    Idle,
    /// Inside a transaction.
    Transaction,
    /// Inside a transaction in which a statement failed. It can only be rolled back.
    Failed,
}

/// The state of a connection. A metric counts the connections inside a transaction.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState(AtomicU8);

impl ConnectionState {
    pub(crate) fn get(&self) -> TransactionState {
        match self.0.load(Ordering::Acquire) {
            0 => TransactionState::Idle,
            1 => TransactionState::Transaction,
            _ => TransactionState::Failed,
        }
    }

    pub(crate) fn set(&self, state: TransactionState) {
        let before = self.0.swap(state as u8, Ordering::AcqRel);
        let open = |state| i64::from(state != TransactionState::Idle as u8);
        match open(state as u8) - open(before) {
            0 => {}
            change => meters::TRANSACTIONS.add(change),
        }
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        self.set(TransactionState::Idle);
    }
}

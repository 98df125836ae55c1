//! The limits of transactions that callers lead (Transact).

use std::time::Duration;

/// What callers may do who lead a transaction.
#[derive(Clone, Copy, Debug)]
pub struct TransactionLimits {
    /// How long one waits to begin.
    pub wait: Duration,
    /// How long one may be open that asks for nothing else.
    pub total: Duration,
    /// How long a caller may be silent.
    pub idle: Duration,
}

//! The limits of interactive transactions (Transact).

use std::time::Duration;

/// The limits of one interactive transaction.
#[derive(Clone, Copy, Debug)]
pub struct TransactionLimits {
    /// How long it waits to begin.
    pub wait: Duration,
    /// How long it may be open if its caller sets no shorter time.
    pub total: Duration,
    /// How long it may be idle between two steps.
    pub idle: Duration,
}

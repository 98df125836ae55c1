//! The settings of transactions.

use std::time::Duration;

use super::{
    settings::{
        IDEMPOTENCY_MAX_BYTES, IDEMPOTENCY_MAX_KEYS, IDEMPOTENCY_RETENTION,
        TRANSACTION_IDLE_TIMEOUT, TRANSACTION_TIMEOUT, TRANSACTION_WAIT,
    },
    values::{self, SettingValues},
};

/// The settings of idempotency keys and of interactive transactions (Transact).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transactions {
    /// `idempotency_retention`: how long idempotency keys are kept with their answers.
    /// Default 24 h.
    pub idempotency_retention: Duration,
    /// `idempotency_max_keys`: how many are kept at the same time. Default 1,000,000.
    pub idempotency_max_keys: usize,
    /// `idempotency_max_bytes`: how large their answers are together. Default 1 GiB.
    pub idempotency_max_bytes: usize,
    /// `transaction_wait`: how long a transaction waits to begin. Default 2 s.
    pub wait: Duration,
    /// `transaction_timeout`: how long a transaction may be open if its caller sets no shorter
    /// time. Default 5 s.
    pub timeout: Duration,
    /// `transaction_idle_timeout`: how long a caller may be silent. Default 2 s.
    pub idle_timeout: Duration,
}

impl Transactions {
    pub(super) fn read(values: &mut SettingValues) -> Option<Self> {
        let minute = Duration::from_mins(1);
        let retention = Duration::from_secs(1)..=Duration::from_hours(720);
        let open = Duration::from_millis(100)..=minute;
        let wait = values::duration(Duration::ZERO..=minute);
        let retention = values.read(&IDEMPOTENCY_RETENTION, values::duration(retention));
        let wait = values.read(&TRANSACTION_WAIT, wait);
        let timeout = values.read(&TRANSACTION_TIMEOUT, values::duration(open.clone()));
        let idle_timeout = values.read(&TRANSACTION_IDLE_TIMEOUT, values::duration(open));
        let keys = values.read(&IDEMPOTENCY_MAX_KEYS, values::whole(1..=1_000_000_000));
        let bytes = values.read(&IDEMPOTENCY_MAX_BYTES, values::size(1 << 20..=1 << 40));
        Some(Self {
            idempotency_retention: retention?,
            idempotency_max_keys: keys.and_then(|keys| usize::try_from(keys).ok())?,
            idempotency_max_bytes: bytes?,
            wait: wait?,
            timeout: timeout?,
            idle_timeout: idle_timeout?,
        })
    }
}

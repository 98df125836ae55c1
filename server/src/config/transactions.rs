//! The settings of transactions.

use std::time::Duration;

use super::settings::IDEMPOTENCY_RETENTION;
use super::values::{self, Values};

/// How writes are kept from happening twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transactions {
    /// `idempotency_retention`: how long idempotency keys are kept with their answers.
    /// Default 24 h.
    pub idempotency_retention: Duration,
}

impl Transactions {
    pub(super) fn read(values: &mut Values) -> Option<Self> {
        let retention = Duration::from_secs(1)..=Duration::from_hours(720);
        let retention = values.read(&IDEMPOTENCY_RETENTION, values::duration(retention));
        Some(Self { idempotency_retention: retention? })
    }
}

//! Idempotency keys: a write under a key happens once.
//!
//! Duplicate requests in one process wait for each other without a connection ([`key_lock`]).
//! Those in several processes wait on an advisory lock. The store keeps the answer in the
//! write's own transaction ([`answer`]).

pub(crate) mod answer;
pub(crate) mod key;
pub(crate) mod key_lock;
pub(crate) mod large;
pub(crate) mod outcome;
pub(crate) mod sweep;

pub use self::{
    key::IdempotencyKey,
    large::LargeAnswers,
    outcome::{LookUpOutcome, Outcome},
    sweep::CountKeys,
};

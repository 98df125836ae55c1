//! Connection pools: a size, an overflow, and a fair wait with a timeout.
//!
//! Connections return to this pool and not to the driver's, whose ping at each return costs as
//! much as a small query.

mod checkout;
pub(crate) mod commit_position;
mod commit_queue;
mod idle;
pub(crate) mod options;
pub(crate) mod pooled;
pub(crate) mod shared;
pub(crate) mod waiters;

pub use self::{
    options::{PoolOptions, PoolStats},
    pooled::PooledConnection,
};

//! Conditions between rows that a write needs, and which of them wasn't met.

use crate::error::{Fault, StoreError};

/// A condition that rows have to meet for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// As much is in stock as is ordered.
    Stock,
    /// All of an order is in one currency.
    Currency,
    /// The order is in a state from which that can be done.
    State,
    /// Something is in the cart.
    Filled,
    /// The cart has room.
    Room,
}

/// A condition that wasn't met: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Which one.
    pub condition: Condition,
    /// The fields of the request that it was not met for.
    pub faults: Vec<Fault>,
    /// What programs may want to know, each with its name.
    pub facts: Vec<(&'static str, String)>,
}

impl From<Unmet> for StoreError {
    fn from(unmet: Unmet) -> Self {
        Self::Unmet(unmet)
    }
}

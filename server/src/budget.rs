//! Budgets of memory: the bytes that connections may hold of requests that come in and of
//! answers that are not taken yet, each by connection and in all.
//!
//! A connection has an [`Account`]. Whatever holds bytes for a peer charges them there and has a
//! [`Held`] for them, which gives them back when it is dropped.

mod account;
mod age;
mod call;
mod held;
mod stored;
#[cfg(test)]
mod tests;

pub use self::{
    account::{Account, Budget, BudgetSide, CALL, CONNECTION, Limits, TLS, UNCHARGED},
    age::ConnectionAge,
    call::{CallBudget, INCLUDED, unbounded},
    held::Held,
};

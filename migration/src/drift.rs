//! The differences between two schemas: what the migrations make, and what is there.
//!
//! [`compare`] finds them, with renames seen as such and with what follows from another difference
//! told along with it. [`Comparison::findings`] says them in words.

mod compare;
mod difference;
mod facets;
mod finding;
mod fold;
mod pair;
mod rename;
mod repair;
#[cfg(test)]
mod tests;
mod words;

pub use self::{
    compare::{compare, compare_renamed},
    difference::{Change, Comparison, Difference},
    finding::{Finding, Level, Loss, Repair},
    rename::Renames,
};

//! The differences between two schemas: what the migrations make, and what is there.
//!
//! [`compare`] finds them, with renames seen as such and with what follows from another difference
//! reported along with it. [`Comparison::findings`] describes them.

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

pub(crate) use self::rename::bare;
pub use self::{
    compare::{compare, compare_renamed},
    difference::{Comparison, Difference, DifferenceKind},
    finding::{Finding, Loss, Repair, Severity},
    rename::Renames,
};

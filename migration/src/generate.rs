//! Writes the steps of a revision from the differences of two schemas.
//!
//! A step up and its step down are one [`Pair`], so that a revision can be left in the middle of
//! its steps. What an engine can't do, or what loses rows without permission, is refused with a
//! reason.

mod answers;
mod order;
mod pair;
mod plan;
mod postgres;
mod proof;
mod render;
mod sqlite;
mod undeclared;

pub use self::{
    answers::Answers,
    pair::{Pair, PlannedAction},
    plan::{RevisionPlan, plan},
    proof::{ProofError, prove, prove_repair, scratch_schema},
    render::{RevisionSource, source, steps},
    undeclared::{keep, undeclared_indexes},
};

//! Writes and the transactions that they run in.
//!
//! [`runner`] runs one write in one transaction, or [`autocommit`] one statement without, [`session`] runs transactions that a caller
//! leads step by step. Only [`commands`] begins, commits and rolls back.

mod attempt;
mod autocommit;
pub(crate) mod commands;
pub(crate) mod operation;
pub(crate) mod runner;
pub(crate) mod session;

pub use self::{
    operation::{Operation, Query, Retrace, Write},
    session::{Begun, StepError, Transaction},
};

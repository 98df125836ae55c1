//! The suite: it drives the program from outside, on every engine.
//!
//! One test binary, for each would be linked with everything again.

#![expect(clippy::expect_used, reason = "a test that can't go on has failed")]

mod contract;
mod exceptions;
mod guard;
mod health;
mod roles;
mod tidy;

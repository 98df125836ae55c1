//! The metrics of the store, and the spans of operations and statements.

pub mod instrument;
pub mod meters;
pub mod traces;

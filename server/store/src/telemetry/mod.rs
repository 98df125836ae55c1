//! What the store counts and measures, and the spans of what it does.

pub mod instrument;
pub mod meters;
pub mod traces;

//! Request coalescing: reads of single rows by their ids share statements.
//!
//! [`coalescer`] is what a read does: it runs its own statement, or joins a [`queue`] and takes its
//! row out of a [`batch`]. An idle service does nothing more for a read.

mod batch;
pub(crate) mod coalescer;
mod queue;
pub(crate) mod row;

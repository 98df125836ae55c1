//! Request coalescing: reads of single rows by their ids share statements.
//!
//! [`coalescer`] is what a read does: it runs its own statement, or joins a [`queue`] and takes its
//! row out of a [`batch`]. In an idle service a read only takes its place in a queue and leaves it.

mod batch;
pub(crate) mod coalescer;
mod queue;
pub(crate) mod row;

//! `check`: the schema that is there against the one that the migrations make.
//!
//! What the migrations make is read where they are replayed: on PostgreSQL in a schema of its own,
//! in a transaction that is rolled back; on SQLite in memory. Where nothing may be created, as for a
//! role that only reads and on a replica, a snapshot that the program carries stands in.

mod applied;
mod error;
mod examine;
mod expected;
mod inside;
mod rows;

pub use self::{
    error::CheckError,
    examine::{Report, check},
    expected::{Origin, Replay, SNAPSHOT, Scratch, replayed},
};

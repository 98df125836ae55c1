//! `check`: compares the actual schema with the one that the migrations make.
//!
//! What the migrations make is read where they are replayed: on PostgreSQL in a schema of its own,
//! in a transaction that is rolled back; on SQLite in memory. Where nothing may be created, as for
//! a read-only role and on a replica, a snapshot in the program is used instead.

mod applied;
mod error;
mod examine;
mod expected;
mod inside;
mod rows;

pub use self::{
    error::CheckError,
    examine::{Report, check},
    expected::{ReplayPolicy, SNAPSHOT, SchemaOrigin, Scratch, replayed},
};

//! The records of a database about its revisions.
//!
//! `seaql_migrations` is sea-orm-migration's table, byte for byte: only it holds which revisions
//! are applied, and programs from before this crate's runner read and write it. The details are in
//! a table beside it; a revision that such a program applied has none until it is adopted.

mod state;
mod statements;

pub(crate) use self::statements::step_hash;
pub use self::{
    state::{Applied, BookkeepingState, Details, StepState, read, recorded_sql},
    statements::{
        adopt, install, lock_holder, record, record_note, step_done, step_started, step_undone,
        unrecord,
    },
};

/// The tables of the bookkeeping, which are no part of the schema that revisions make.
pub const TABLES: &[&str] = &[
    "seaql_migrations",
    "bookstore_migrations",
    "bookstore_migration_steps",
    "bookstore_migration_lock",
];

/// The program that migrates, as the bookkeeping names it.
pub const PROGRAM: &str = concat!("bookstore ", env!("CARGO_PKG_VERSION"));

//! The schema as revisions, and their runner.
//!
//! - [`revisions`]: the released revisions, a file each.
//! - [`prelude`]: the imports of a revision's file.
//! - [`revision`]: what a revision is: a name, a parent, a message, and steps up and down.
//! - [`chain`], [`target`]: their order, and the targets of commands.
//! - [`bookkeeping`]: what the database records of them.
//! - [`replay`]: all of them on an empty schema.
//! - [`catalog`], [`expression`], [`drift`], [`check`]: what a schema holds, and how it differs from what
//!   the revisions make.
//! - [`generate`]: the steps of the next revision, written from differences.
//! - [`rebuild`]: rebuilds a table of SQLite.
//! - [`roles`]: the database roles of PostgreSQL and their grants.
//! - [`runner`]: applies and reverts them, alone, and survives a kill.
//! - [`listing`]: a revision as a text; [`offline`]: all of them as SQL scripts.
//! - [`session`]: connections, which others open; [`manager`]: what a data step in Rust sees.
//! - [`sql`]: words of dialects, and the lexer.

pub mod bookkeeping;
pub mod catalog;
pub mod chain;
pub mod check;
pub mod clock;
pub mod drift;
pub mod error;
pub mod expression;
pub mod generate;
pub mod listing;
pub mod manager;
pub mod offline;
pub mod prelude;
pub mod rebuild;
pub mod replay;
pub mod revision;
pub mod revisions;
pub mod roles;
pub mod runner;
pub mod session;
pub mod sql;
pub mod target;

//! The schema of the database: its migrations, the objects that statements need, and connections
//! for the migration tool.

mod access;
pub(crate) mod migrations;
pub(crate) mod needs;
mod nodes;
pub(crate) mod revisions;

pub use self::{needs::Needs, revisions::Schema};

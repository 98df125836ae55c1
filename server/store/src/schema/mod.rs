//! The schema of the database: which migrations it has, and connections for the migration tool.

pub(crate) mod migrations;
pub(crate) mod revisions;

pub use self::revisions::Schema;

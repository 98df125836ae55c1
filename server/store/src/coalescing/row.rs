//! The row that a query is for, and the statement that reads it with others.

use std::hash::{Hash, Hasher};

use sea_orm::{DbBackend, Statement};
use uuid::Uuid;

/// A row that a query reads by its id.
#[derive(Clone, Copy, Debug)]
pub struct RowById {
    /// What kind of row it is.
    pub kind: RowKind,
    /// Its id.
    pub id: Uuid,
}

/// Rows that one statement can read: those of one table, with the same columns. Kinds are equal if
/// their resources and columns are.
#[derive(Clone, Copy, Debug)]
pub struct RowKind {
    /// The resource, in the singular: `book`.
    pub resource: &'static str,
    /// A name for the columns that are read.
    pub columns: &'static str,
    /// Makes the statement that reads the rows with these ids, each once. Its text doesn't depend
    /// on the number of ids. The column `id` holds a row's id.
    pub statement: fn(DbBackend, &[Uuid]) -> Statement,
}

impl PartialEq for RowKind {
    fn eq(&self, other: &Self) -> bool {
        (self.resource, self.columns) == (other.resource, other.columns)
    }
}

impl Eq for RowKind {}

impl Hash for RowKind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.resource, self.columns).hash(state);
    }
}

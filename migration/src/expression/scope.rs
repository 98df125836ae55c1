//! What an expression's names stand for.

use std::collections::HashMap;

/// The properties of a column that the meaning of an expression depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnType {
    /// The type, as the catalog names it.
    pub type_name: String,
    /// The collation; none if the type has none, or if it is SQLite's BINARY.
    pub collation: Option<String>,
}

/// The scope of an expression's names.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The columns of the expression's table.
    pub columns: HashMap<String, ColumnType>,
    /// Renames of the compared side: old name to new name.
    pub renamed: HashMap<String, String>,
    /// Whether casts of columns are ignored, because the type of a column differs anyway.
    pub ignore_casts: bool,
}

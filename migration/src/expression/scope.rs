//! What an expression's names stand for.

use std::collections::HashMap;

/// A column as far as the meaning of an expression depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnType {
    /// The type, as the catalog names it.
    pub type_name: String,
    /// The collation; none if the type has none, or if it is SQLite's BINARY.
    pub collation: Option<String>,
}

/// What names in an expression stand for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The columns of the expression's table.
    pub columns: HashMap<String, ColumnType>,
    /// Names that the compared side knows by another one: old name to new name.
    pub renamed: HashMap<String, String>,
    /// Whether casts of columns say nothing, because the type of a column differs anyway.
    pub ignore_casts: bool,
}

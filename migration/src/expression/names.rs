//! Names of columns and tables, as they are compared.

use super::{Engine, Scope};

/// Functions of several names, each with the name that stands for all.
pub(super) const FUNCTIONS: &[(&str, &str)] = &[
    ("transaction_timestamp", "now"),
    ("char_length", "length"),
    ("character_length", "length"),
    ("ifnull", "coalesce"),
    ("substring", "substr"),
];

/// A quoted name as it is compared: SQLite's names have no case.
pub(super) fn fold(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Postgres => name.to_owned(),
        Engine::Sqlite => name.to_lowercase(),
    }
}

/// A name as the compared side knows it.
pub(super) fn rename(scope: &Scope, name: String) -> String {
    scope.renamed.get(&name).cloned().unwrap_or(name)
}

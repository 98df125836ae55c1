//! What only the author of a revision knows.

use crate::{catalog::ObjectKey, drift::Renames, expression::Engine, sql::quoted};

/// The author's answers for a revision.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Tables and columns with other names.
    pub renames: Renames,
    /// Tables and columns that were removed, not renamed: `posts.body`.
    pub not_renamed: Vec<String>,
    /// What new columns of rows that exist get: table, column, expression.
    pub fills: Vec<(String, String, String)>,
    /// Whether the steps also run where the change exists already, as they must if only some
    /// databases have drifted.
    pub is_tolerant: bool,
}

impl Answers {
    /// What rows that exist get in a column.
    pub fn fill(&self, key: &ObjectKey) -> Option<&str> {
        let own =
            self.fills.iter().find(|(table, column, _)| *table == key.table && *column == key.name);
        own.map(|(_, _, value)| value.as_str())
    }

    /// The statement that has to be run by hand because no step can rename `old`, a table or
    /// `table.column`: SQLite has no conditional rename, so a step that renames would fail on the
    /// databases that have not drifted. `None` if a step can.
    pub fn rename_by_hand(&self, engine: Engine, old: &str, new: &str) -> Option<String> {
        if !self.is_tolerant || engine != Engine::Sqlite {
            return None;
        }
        Some(match (old.split_once('.'), new.split_once('.')) {
            (Some((table, old)), Some((_, new))) => format!(
                "ALTER TABLE {} RENAME COLUMN {} TO {}",
                quoted(table),
                quoted(old),
                quoted(new)
            ),
            _ => format!("ALTER TABLE {} RENAME TO {}", quoted(old), quoted(new)),
        })
    }
}

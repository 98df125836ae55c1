//! Writes the steps of a revision from the differences of two schemas.
//!
//! A step up and its step down are one [`Pair`], so that a revision can be left in the middle of
//! its steps. What an engine can't do, or what loses rows unasked, is refused with a reason.

mod postgres;
mod proof;
mod render;
mod sqlite;

use crate::{
    catalog::{Catalog, Key},
    drift::{Comparison, Renames, compare_renamed},
    expression::Engine,
};

pub use self::{
    proof::{ProofError, prove, prove_repair, scratch_schema},
    render::{Source, source, steps},
};

/// What one step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the other direction of the pair needs no way back.
    Nothing,
    /// SQL inside the transaction.
    Sql(String),
    /// One statement outside a transaction.
    Outside(String),
    /// A table of SQLite made anew with this CREATE TABLE.
    Define {
        /// The table.
        table: String,
        /// Its whole text.
        create: String,
        /// What rows that exist get in columns: a column and an expression.
        values: Vec<(String, String)>,
    },
    /// Rows filled in batches, outside a transaction.
    Fill {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The value, an expression over the row.
        value: String,
    },
}

/// A step and its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The step up.
    pub up: Action,
    /// The step down.
    pub down: Action,
    /// What going up loses of rows: `posts.body with its values`.
    pub up_loses: Option<String>,
    /// What going down loses of rows.
    pub down_loses: Option<String>,
}

impl Pair {
    /// A pair of two statements in the transaction.
    pub(crate) fn sql(up: impl Into<String>, down: impl Into<String>) -> Self {
        Self::of(Action::Sql(up.into()), Action::Sql(down.into()))
    }

    pub(crate) fn of(up: Action, down: Action) -> Self {
        Self { up, down, up_loses: None, down_loses: None }
    }

    pub(crate) fn reversed(self) -> Self {
        Self { up: self.down, down: self.up, up_loses: self.down_loses, down_loses: self.up_loses }
    }
}

/// What the author says of a revision.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Tables and columns with other names.
    pub renames: Renames,
    /// Tables and columns that were removed, not renamed: `posts.body`.
    pub not_renamed: Vec<String>,
    /// What new columns of rows that exist get: table, column, expression.
    pub fills: Vec<(String, String, String)>,
    /// Whether the steps also run where their work is done already, as they must where only some
    /// databases have drifted.
    pub is_tolerant: bool,
}

impl Answers {
    /// What rows that exist get in a column.
    pub fn fill(&self, key: &Key) -> Option<&str> {
        let own =
            self.fills.iter().find(|(table, column, _)| *table == key.table && *column == key.name);
        own.map(|(_, _, value)| value.as_str())
    }
}

/// The steps of one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in their order.
    pub pairs: Vec<Pair>,
    /// What has to be answered before the steps can be written.
    pub questions: Vec<String>,
}

/// The steps that make one schema of another. `from` and `to` are of one engine.
pub fn plan(from: &Catalog, to: &Catalog, answers: &Answers) -> Plan {
    let comparison = compare_renamed(from, to, answers.renames.clone());
    let mut plan = Plan { questions: questions(from, to, &comparison, answers), ..Plan::default() };
    if plan.questions.is_empty() {
        plan.pairs = match from.engine {
            Engine::Postgres => postgres::pairs(&comparison, answers),
            Engine::Sqlite => sqlite::pairs(&comparison, answers),
        };
    }
    plan
}

/// What only the author knows: renames, and values of columns that must not be NULL.
fn questions(
    from: &Catalog,
    to: &Catalog,
    comparison: &Comparison<'_>,
    answers: &Answers,
) -> Vec<String> {
    let mut questions = Vec::new();
    if !answers.is_tolerant {
        let guessed = Renames::guess(from, to);
        let open = |key: String| !answers.not_renamed.contains(&key);
        let columns = guessed.columns.iter().filter(|((table, old), _)| {
            let key = (table.clone(), old.clone());
            open(format!("{table}.{old}")) && !answers.renames.columns.contains_key(&key)
        });
        for ((table, old), new) in columns {
            questions.push(format!(
                "is {table}.{new} the new name of {table}.{old}? Say --rename {table}.{old}:{table}.{new}, \
                 or --rename {table}.{old}: if it is another column"
            ));
        }
        let tables = guessed.tables.iter();
        for (old, new) in tables.filter(|(old, _)| !answers.renames.tables.contains_key(*old)) {
            questions.push(format!("is {new} the new name of {old}? Say --rename {old}:{new}"));
        }
    }
    for difference in &comparison.differences {
        let keys = [difference.found.as_ref()].into_iter().flatten().chain(&difference.along);
        for key in keys.filter(|key| key.kind == "column" && from.has_table(&key.table)) {
            let get = |facet: &str| to.facet(key, facet);
            let is_new = from.facet(key, "type").is_none();
            let needs_value = get("null") == Some("NOT NULL")
                && get("default").is_none()
                && get("generated").is_none()
                && get("identity").is_none();
            if is_new
                && needs_value
                && !comparison.renames.columns.values().any(|new| *new == key.name)
                && answers.fill(key).is_none()
            {
                questions.push(format!(
                    "{} is NOT NULL, and rows that exist have no value for it: give it a default, or \
                     say --fill '{}=EXPRESSION'",
                    key.display(),
                    key.display()
                ));
            }
        }
    }
    questions
}

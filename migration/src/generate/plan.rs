//! The plan of a revision: its steps, or what has to be answered first.

use super::{Answers, Pair, postgres, sqlite};
use crate::{
    catalog::Catalog,
    drift::{Comparison, Renames, compare_renamed},
    expression::Engine,
};

/// The steps of one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionPlan {
    /// The steps, in their order.
    pub pairs: Vec<Pair>,
    /// Questions that must be answered before the steps can be written.
    pub questions: Vec<String>,
}

/// The steps that make one schema of another. `from` and `to` are of one engine.
pub fn plan(from: &Catalog, to: &Catalog, answers: &Answers) -> RevisionPlan {
    let comparison = compare_renamed(from, to, answers.renames.clone());
    let mut plan = RevisionPlan {
        questions: questions(from, to, &comparison, answers),
        ..RevisionPlan::default()
    };
    if plan.questions.is_empty() {
        plan.pairs = match from.engine {
            Engine::Postgres => postgres::pairs(&comparison, answers),
            Engine::Sqlite => sqlite::pairs(&comparison, answers),
        };
    }
    plan
}

/// Questions that only the author can answer: renames, and values of columns that must not be NULL.
fn questions(
    from: &Catalog,
    to: &Catalog,
    comparison: &Comparison<'_>,
    answers: &Answers,
) -> Vec<String> {
    let mut questions = Vec::new();
    // Columns that may be others under a new name: whether they need values is not known yet.
    let mut renamed = Vec::new();
    if !answers.is_tolerant {
        let guessed = Renames::guess(from, to);
        let open = |key: String| !answers.not_renamed.contains(&key);
        let columns = guessed.columns.iter().filter(|((table, old), _)| {
            let key = (table.clone(), old.clone());
            open(format!("{table}.{old}")) && !answers.renames.columns.contains_key(&key)
        });
        for ((table, old), new) in columns {
            renamed.push((answers.renames.new_table(table), new.clone()));
            questions.push(format!(
                "is {table}.{new} the new name of {table}.{old}? Say --rename {table}.{old}:{table}.{new}, \
                 or --rename {table}.{old}: if it is another column"
            ));
        }
        let tables = guessed.tables.iter();
        let tables = tables
            .filter(|(old, _)| open((*old).clone()) && !answers.renames.tables.contains_key(*old));
        for (old, new) in tables {
            questions.push(format!(
                "is {new} the new name of {old}? Say --rename {old}:{new}, or --rename {old}: if it is \
                 another table"
            ));
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
                && !renamed.contains(&(key.table.clone(), key.name.clone()))
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

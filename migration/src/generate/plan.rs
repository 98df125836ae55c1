//! The plan of a revision: its steps, or what has to be answered first.

use super::{Answers, Pair, postgres, sqlite};
use crate::{
    catalog::{Catalog, ObjectKey},
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
    let guessed = Renames::guess(from, to);
    let open = |key: &str| !answers.not_renamed.iter().any(|known| known == key);
    for ((table, old), new) in &guessed.columns {
        let key = (table.clone(), old.clone());
        if !open(&format!("{table}.{old}")) || answers.renames.columns.contains_key(&key) {
            continue;
        }
        renamed.push((answers.renames.new_table(table), new.clone()));
        questions.push(rename_question(from.engine, answers, &format!("{table}."), old, new));
    }
    for (old, new) in &guessed.tables {
        if open(old) && !answers.renames.tables.contains_key(old) {
            questions.push(rename_question(from.engine, answers, "", old, new));
        }
    }
    for difference in &comparison.differences {
        let keys = [difference.found.as_ref()].into_iter().flatten().chain(&difference.along);
        for key in keys.filter(|key| key.kind == "column") {
            let get = |facet: &str| to.facet(key, facet);
            let needs_value = get("null") == Some("NOT NULL")
                && get("default").is_none()
                && get("generated").is_none()
                && get("identity").is_none();
            if needs_value
                && is_new_column(from, &comparison.renames, key)
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

/// Asks whether a table, or a column of the table that `owner` ends with a point, was renamed.
fn rename_question(engine: Engine, answers: &Answers, owner: &str, old: &str, new: &str) -> String {
    let what = if owner.is_empty() { "table" } else { "column" };
    let (old, new) = (format!("{owner}{old}"), format!("{owner}{new}"));
    let yes = match answers.rename_by_hand(engine, &old, &new) {
        Some(statement) => format!("If it is, run {statement}. Say"),
        None => format!("Say --rename {old}:{new}, or"),
    };
    format!("is {new} the new name of {old}? {yes} --rename {old}: if it is another {what}")
}

/// Whether a column comes to a table that is there already, maybe under another name: no column of
/// the old schema becomes it.
fn is_new_column(from: &Catalog, renames: &Renames, key: &ObjectKey) -> bool {
    let mut known = from.objects.keys().map(|old| renames.new_key(old));
    let mut tables = from.objects.keys().filter(|old| old.kind == "table");
    tables.any(|old| renames.new_table(&old.name) == key.table) && !known.any(|new| new == *key)
}

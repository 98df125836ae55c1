//! A revision as a text: what `migrate show` prints, and what the bookkeeping keeps.

use std::fmt::Write as _;

use crate::revision::{Action, Direction, Engine, Rebuild, Revision, Step, TableChange};

/// A revision on an engine as text, in both directions. The bookkeeping stores the same text.
pub fn text(revision: &Revision, engine: Engine) -> String {
    let mut text = String::new();
    for (direction, word) in [(Direction::Up, "up"), (Direction::Down, "down")] {
        let _ = writeln!(text, "-- {word}");
        for step in revision.steps(engine, direction) {
            if !step.in_transaction {
                text.push_str("-- outside a transaction\n");
            }
            for question in &step.questions {
                let _ = writeln!(text, "-- asks first: {}", question.claim);
            }
            text.push_str(&describe(&step));
            text.push('\n');
        }
    }
    text
}

fn describe(step: &Step) -> String {
    match &step.action {
        Action::Sql(sql) => terminated(&dedent(sql)),
        Action::Rebuild(rebuild) => describe_rebuild(rebuild),
        Action::Backfill(backfill) => {
            let note = format!("-- in batches of {} by {}\n", backfill.batch, backfill.key);
            note + &terminated(&backfill.statement())
        }
        Action::Code(code) => format!("-- runs code: {}", code.name),
    }
}

fn describe_rebuild(rebuild: &Rebuild) -> String {
    let change = |change: &TableChange| match change {
        TableChange::ChangeColumn { column, definition, .. } => {
            format!("{column} becomes {definition}")
        }
        TableChange::SetNotNull { column } => format!("{column} NOT NULL"),
        TableChange::DropNotNull { column } => format!("{column} may be NULL"),
        TableChange::AddColumn { definition, value: None } => format!("adds {definition}"),
        TableChange::AddColumn { definition, value: Some(value) } => {
            format!("adds {definition}, filled with {value}")
        }
        TableChange::DropColumn { column } => format!("drops column {column}"),
        TableChange::AddConstraint { definition } => format!("adds {definition}"),
        TableChange::DropConstraint { name } => format!("drops constraint {name}"),
        TableChange::ReplaceConstraint { name, definition } => {
            format!("constraint {name} becomes {definition}")
        }
        TableChange::Define { create } => format!("becomes {create}"),
        TableChange::Copy { column, value } => format!("{column} is filled with {value}"),
    };
    let changes: Vec<String> = rebuild.changes.iter().map(change).collect();
    format!("-- rebuilds table {}:\n--   {}", rebuild.table, changes.join("\n--   "))
}

/// A text without the blanks that all its lines begin with.
fn dedent(text: &str) -> String {
    let text = text.trim_matches('\n').trim_end();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let indent = lines.map(|line| line.len() - line.trim_start().len()).min().unwrap_or_default();
    let lines = text.lines().map(|line| line.get(indent..).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// A statement with its end.
pub(crate) fn terminated(sql: &str) -> String {
    let sql = sql.trim_end();
    if sql.ends_with(';') { sql.to_owned() } else { format!("{sql};") }
}

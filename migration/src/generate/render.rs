//! Steps as Rust, for the file of a revision, and as data, for the proof of it.

use super::{Pair, PlannedAction};
use crate::revision::{Backfill, Engine, Rebuild, Step, backfill, postgres, rebuild, sqlite};

/// What the file of a revision is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionSource {
    /// The steps up, each on lines of its own.
    pub up: String,
    /// The steps down.
    pub down: String,
}

/// The source of steps of both engines.
pub fn source(plans: &[(Engine, Vec<Pair>)]) -> RevisionSource {
    let (mut up, mut down) = (String::new(), String::new());
    for (engine, pairs) in plans {
        let keeps = runs_step_by_step(pairs);
        for pair in pairs {
            up.push_str(&line(*engine, &pair.up, pair.up_loses.as_deref(), keeps));
        }
        for pair in pairs.iter().rev() {
            down.push_str(&line(*engine, &pair.down, pair.down_loses.as_deref(), keeps));
        }
    }
    RevisionSource { up, down }
}

/// The steps as data: up and down.
pub fn steps(engine: Engine, pairs: &[Pair]) -> (Vec<Step>, Vec<Step>) {
    let keeps = runs_step_by_step(pairs);
    let up = pairs.iter().filter_map(|pair| step(engine, &pair.up, keeps)).collect();
    let down = pairs.iter().rev().filter_map(|pair| step(engine, &pair.down, keeps)).collect();
    (up, down)
}

/// Whether a step runs outside a transaction, so that each step needs its way back.
fn runs_step_by_step(pairs: &[Pair]) -> bool {
    let is_outside = |action: &PlannedAction| {
        matches!(action, PlannedAction::Outside(_) | PlannedAction::Fill { .. })
    };
    pairs.iter().any(|pair| is_outside(&pair.up) || is_outside(&pair.down))
}

/// A statement that does nothing, for a step that needs a reverse and has none.
const NOTHING: &str = "SELECT 1";

fn step(engine: Engine, action: &PlannedAction, keeps_nothing: bool) -> Option<Step> {
    let sql = |text: &str| match engine {
        Engine::Postgres => postgres(text),
        Engine::Sqlite => sqlite(text),
    };
    match action {
        PlannedAction::Nothing if keeps_nothing => Some(sql(NOTHING)),
        PlannedAction::Nothing => None,
        PlannedAction::Sql(text) => Some(sql(text)),
        PlannedAction::Outside(text) => Some(sql(text).outside_transaction()),
        PlannedAction::Define { table, create, values } => {
            let mut change = Rebuild::of(table).define(create);
            for (column, value) in values {
                change = change.copy(column, value);
            }
            Some(rebuild(change))
        }
        PlannedAction::Fill { table, column, value } => {
            let fill = Backfill::of(table)
                .set(&format!("\"{column}\" = {value}"))
                .only(&format!("\"{column}\" IS NULL"));
            Some(backfill(fill).on(engine).outside_transaction())
        }
    }
}

/// A step as a line of Rust.
fn line(
    engine: Engine,
    action: &PlannedAction,
    loses: Option<&str>,
    keeps_nothing: bool,
) -> String {
    let maker = match engine {
        Engine::Postgres => "postgres",
        Engine::Sqlite => "sqlite",
    };
    let step = match action {
        PlannedAction::Nothing if !keeps_nothing => return String::new(),
        PlannedAction::Nothing => {
            format!("{maker}({})", raw(NOTHING))
        }
        PlannedAction::Sql(text) => {
            format!("{maker}({})", raw(text))
        }
        PlannedAction::Outside(text) => {
            format!("{maker}({}).outside_transaction()", raw(text))
        }
        PlannedAction::Define { table, create, values } => {
            let mut text = format!("rebuild(Rebuild::of({table:?}).define({})", raw(create));
            for (column, value) in values {
                text.push_str(&format!(".copy({column:?}, {})", raw(value)));
            }
            text + ")"
        }
        PlannedAction::Fill { table, column, value } => {
            let set = raw(&format!("\"{column}\" = {value}"));
            let only = raw(&format!("\"{column}\" IS NULL"));
            let on = match engine {
                Engine::Postgres => "Postgres",
                Engine::Sqlite => "Sqlite",
            };
            format!(
                "backfill(Backfill::of({table:?}).set({set}).only({only})).on(Engine::{on}).outside_transaction()"
            )
        }
    };
    let mark = loses.map(|what| format!("            // Data loss: {what}.\n")).unwrap_or_default();
    format!("{mark}            {step},\n")
}

/// A text as a raw string of Rust, with as many `#` as it takes.
fn raw(text: &str) -> String {
    let mut hashes = String::new();
    while text.contains(&format!("\"{hashes}")) {
        hashes.push('#');
    }
    format!("r{hashes}\"{text}\"{hashes}")
}

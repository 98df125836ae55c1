//! The steps of a revision, and their constructors.

use std::{fmt, future::Future, pin::Pin};

use sea_orm::DbErr;

use super::{Backfill, Engine, Question, Rebuild};
use crate::{
    manager::SchemaManager,
    sql::{dialect, lexer},
};

/// A step of a revision: its action, its engine, and the condition that is checked before.
#[derive(Clone, Debug)]
pub struct Step {
    /// The only engine that it is for; none: both.
    pub on: Option<Engine>,
    /// What is done.
    pub action: Action,
    /// Whether it runs inside a transaction.
    pub in_transaction: bool,
    /// The condition that is checked before the step takes a lock.
    pub questions: Vec<Question>,
    /// Whether what it drops was computed from other rows, so that nothing is lost with it.
    pub is_derived: bool,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// SQL: statements, separated by semicolons.
    Sql(String),
    /// A rebuild of a table of SQLite, for changes beyond its ALTER TABLE.
    Rebuild(Rebuild),
    /// Rows changed in batches.
    Backfill(Backfill),
    /// A function in Rust. It can't be written as SQL, so `migrate sql` refuses it.
    Code(Code),
}

/// The future of a data step in Rust.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + 'a>>;

/// A data step in Rust.
#[derive(Clone)]
pub struct Code {
    /// Its name, which is hashed instead of its code.
    pub name: String,
    /// What it does.
    pub run: for<'a> fn(&'a SchemaManager<'a>) -> StepFuture<'a>,
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Code").field(&self.name).finish()
    }
}

/// SQL for both engines, with words where their dialects differ (`sql/dialect.rs`).
pub fn sql(text: impl Into<String>) -> Step {
    Step::new(None, Action::Sql(text.into()))
}

/// SQL for PostgreSQL alone.
pub fn postgres(text: impl Into<String>) -> Step {
    Step::new(Some(Engine::Postgres), Action::Sql(text.into()))
}

/// SQL for SQLite alone.
pub fn sqlite(text: impl Into<String>) -> Step {
    Step::new(Some(Engine::Sqlite), Action::Sql(text.into()))
}

/// A rebuild of a table of SQLite.
pub fn rebuild(rebuild: Rebuild) -> Step {
    Step::new(Some(Engine::Sqlite), Action::Rebuild(rebuild))
}

/// Rows changed in batches, on both engines.
pub fn backfill(backfill: Backfill) -> Step {
    Step::new(None, Action::Backfill(backfill))
}

/// A data step in Rust, on both engines.
pub fn code(name: &str, run: for<'a> fn(&'a SchemaManager<'a>) -> StepFuture<'a>) -> Step {
    Step::new(None, Action::Code(Code { name: name.to_owned(), run }))
}

impl Step {
    fn new(on: Option<Engine>, action: Action) -> Self {
        Self { on, action, in_transaction: true, questions: Vec::new(), is_derived: false }
    }

    /// Only on one engine.
    #[must_use]
    pub fn on(mut self, engine: Engine) -> Self {
        self.on = Some(engine);
        self
    }

    /// Outside any transaction, recorded by itself: `CREATE INDEX CONCURRENTLY`, batches that
    /// commit one by one. SQL is then a single statement.
    #[must_use]
    pub fn outside_transaction(mut self) -> Self {
        self.in_transaction = false;
        self
    }

    /// What it drops was computed from other rows: `down` doesn't count it as a loss.
    #[must_use]
    pub fn derived(mut self) -> Self {
        self.is_derived = true;
        self
    }

    /// Adds a condition that is checked before the step takes a lock.
    #[must_use]
    pub fn ask(mut self, question: Question) -> Self {
        self.questions.push(question);
        self
    }

    /// The step in an engine's dialect.
    pub(super) fn resolve(&self, engine: Engine) -> Self {
        let resolve = |text: &String| dialect::resolve(text, engine);
        let action = match &self.action {
            Action::Sql(text) => Action::Sql(resolve(text)),
            Action::Rebuild(rebuild) => Action::Rebuild(rebuild.map(resolve)),
            Action::Backfill(backfill) => Action::Backfill(Backfill {
                set: resolve(&backfill.set),
                only: resolve(&backfill.only),
                ..backfill.clone()
            }),
            Action::Code(code) => Action::Code(code.clone()),
        };
        let question = |question: &Question| Question {
            claim: question.claim.clone(),
            count: resolve(&question.count),
            examples: resolve(&question.examples),
        };
        let questions = self.questions.iter().map(question).collect();
        Self { action, questions, ..self.clone() }
    }

    /// The text that is hashed: equal for steps that do the same.
    pub(crate) fn canonical(&self, engine: Engine) -> String {
        let fold = |text: &str| lexer::fold(text, engine);
        let place = if self.in_transaction { "" } else { "outside " };
        match &self.action {
            Action::Sql(text) => format!("{place}sql {}", fold(text)),
            Action::Rebuild(rebuild) => format!("{place}rebuild {}", rebuild.canonical(fold)),
            Action::Backfill(Backfill { table, key, set, only, .. }) => {
                format!("{place}backfill {table} {key} set {} only {}", fold(set), fold(only))
            }
            Action::Code(code) => format!("{place}code {}", code.name),
        }
    }

    /// A short description for progress and errors.
    pub fn summary(&self) -> String {
        match &self.action {
            Action::Sql(text) => {
                let engine = self.on.unwrap_or(Engine::Postgres);
                let folded = lexer::fold(text, engine);
                let mut characters = folded.chars();
                let mut short: String = characters.by_ref().take(72).collect();
                if characters.next().is_some() {
                    short.push('…');
                }
                short
            }
            Action::Rebuild(rebuild) => format!("rebuild {}", rebuild.table),
            Action::Backfill(backfill) => format!("backfill {}", backfill.table),
            Action::Code(code) => format!("run {}", code.name),
        }
    }
}

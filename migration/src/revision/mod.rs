//! A revision as data: its name, its parent, and its steps up and down.

mod backfill;
mod engine;
mod question;
mod rebuild;
mod step;

use sha2::{Digest, Sha256};

pub use self::{
    backfill::Backfill,
    engine::{Direction, Engine},
    question::Question,
    rebuild::{Rebuild, TableChange},
    step::{Action, Code, Step, StepFuture, backfill, code, postgres, rebuild, sql, sqlite},
};

/// A step of the schema's history.
///
/// Once released it is never edited: databases have it already. Its hash is recorded where it
/// is applied, and a program with another hash refuses to go on.
#[derive(Clone, Debug)]
pub struct Revision {
    /// Its id, which is the name of its file: `m20261121_000003_create_books`.
    pub name: String,
    /// The revision that it follows; the first has none.
    pub parent: Option<String>,
    /// Its message, in one line.
    pub message: String,
    /// Its author.
    pub author: Option<String>,
    /// A program without the revision of this name must no longer run on the schema. None: every
    /// older program may.
    pub minimum_head: Option<String>,
    /// The steps that apply it.
    pub up: Vec<Step>,
    /// The steps that revert it.
    pub down: Vec<Step>,
}

impl Revision {
    /// A revision without steps, that follows none.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            parent: None,
            message: message.into(),
            author: None,
            minimum_head: None,
            up: Vec::new(),
            down: Vec::new(),
        }
    }

    /// Names the revision that it follows.
    #[must_use]
    pub fn after(mut self, parent: impl Into<String>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Names its author.
    #[must_use]
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Refuses programs that don't have the revision `name`: the last part of an expand and
    /// contract, after which the programs from before the first part fail.
    #[must_use]
    pub fn minimum_head(mut self, name: impl Into<String>) -> Self {
        self.minimum_head = Some(name.into());
        self
    }

    /// The steps that apply it, in order.
    #[must_use]
    pub fn up(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.up = steps.into_iter().collect();
        self
    }

    /// The steps that revert it, in order.
    #[must_use]
    pub fn down(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.down = steps.into_iter().collect();
        self
    }

    /// The steps of one engine, in its dialect.
    pub fn steps(&self, engine: Engine, direction: Direction) -> Vec<Step> {
        let steps = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        let own = steps.iter().filter(|step| step.on.is_none_or(|on| on == engine));
        own.map(|step| step.resolve(engine)).collect()
    }

    /// Whether it runs in one transaction, together with the row that records it.
    pub fn is_transactional(&self, engine: Engine) -> bool {
        let steps = [Direction::Up, Direction::Down].map(|way| self.steps(engine, way));
        steps.iter().flatten().all(|step| step.in_transaction)
    }

    /// The SHA-256 of its steps on an engine, in hexadecimal. Formatting and comments of the SQL
    /// don't change it.
    pub fn hash(&self, engine: Engine) -> String {
        let mut hash = Sha256::new();
        for (direction, word) in [(Direction::Up, "up"), (Direction::Down, "down")] {
            hash.update(word);
            for step in self.steps(engine, direction) {
                hash.update("\n");
                hash.update(step.canonical(engine));
            }
            hash.update("\n");
        }
        hex(&hash.finalize())
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(text: &str) -> Revision {
        Revision::new("m1", "test").up([sql(text)])
    }

    #[test]
    fn hashes_are_of_the_sql_and_not_of_its_form() {
        let hash = |text: &str| revision(text).hash(Engine::Postgres);
        let first = hash("CREATE TABLE \"a\" (\n  \"b\" {text} DEFAULT 'x'\n)");
        assert_eq!(first, hash("CREATE TABLE \"a\" (\r\n\t\"b\" {text} -- why\r\n DEFAULT 'x')"));
        assert_ne!(first, hash("CREATE TABLE \"a\" (\"b\" {text} DEFAULT 'y')"));
        assert_ne!(
            first,
            revision("CREATE TABLE \"a\" (\n  \"b\" {text} DEFAULT 'x'\n)").hash(Engine::Sqlite)
        );
    }

    #[test]
    fn steps_are_those_of_an_engine() {
        let revision = Revision::new("m1", "test").up([
            sql("SELECT {now}"),
            postgres("VACUUM").outside_transaction(),
            sqlite("SELECT 1"),
        ]);
        assert_eq!(revision.steps(Engine::Postgres, Direction::Up).len(), 2);
        assert!(!revision.is_transactional(Engine::Postgres));
        assert!(revision.is_transactional(Engine::Sqlite));
    }
}

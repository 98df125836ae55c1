//! A data step that fills rows in batches.

use std::time::Duration;

/// Changes the rows of a table that still need it, in batches along its key.
///
/// Outside a transaction each batch commits by itself, so that no row is locked for long, and a
/// run that was cut goes on with what is left: the condition must no longer hold for a row that
/// is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// The table.
    pub table: String,
    /// Its key, a unique column. Default `id`.
    pub key: String,
    /// The SET list of the UPDATE.
    pub set: String,
    /// The condition of the rows that need it.
    pub only: String,
    /// How many rows a batch has. Default 1,000.
    pub batch: u32,
    /// How long to wait between batches. Default zero.
    pub pause: Duration,
}

impl Backfill {
    /// Of a table whose key is `id`. [`Backfill::set`] and [`Backfill::only`] have to follow.
    pub fn of(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            key: "id".to_owned(),
            set: String::new(),
            only: String::new(),
            batch: 1_000,
            pause: Duration::ZERO,
        }
    }

    /// The SET list: `"slug" = lower("title")`.
    #[must_use]
    pub fn set(mut self, set: &str) -> Self {
        set.clone_into(&mut self.set);
        self
    }

    /// The rows that need it: `"slug" IS NULL`.
    #[must_use]
    pub fn only(mut self, condition: &str) -> Self {
        condition.clone_into(&mut self.only);
        self
    }

    /// Another key than `id`.
    #[must_use]
    pub fn key(mut self, column: &str) -> Self {
        column.clone_into(&mut self.key);
        self
    }

    /// Another number of rows a batch.
    #[must_use]
    pub fn batch(mut self, rows: u32) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// A pause between batches, for replicas to follow.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The whole of it as one UPDATE, as `migrate sql` writes it.
    pub fn statement(&self) -> String {
        let Self { table, set, only, .. } = self;
        format!(r#"UPDATE "{table}" SET {set} WHERE {only}"#)
    }
}

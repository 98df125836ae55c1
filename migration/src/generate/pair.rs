//! A step and its way back.

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

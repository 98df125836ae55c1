//! A step and its reverse.

/// The change of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedAction {
    /// Nothing: the other direction of the pair needs no way back.
    Nothing,
    /// SQL inside the transaction.
    Sql(String),
    /// One statement outside a transaction.
    Outside(String),
    /// A table of SQLite rebuilt with this CREATE TABLE.
    Define {
        /// The table.
        table: String,
        /// Its whole text.
        create: String,
        /// The values of existing rows in columns: a column and an expression.
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

/// A step and its reverse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The step up.
    pub up: PlannedAction,
    /// The step down.
    pub down: PlannedAction,
    /// What going up loses of rows: `posts.body with its values`.
    pub up_loses: Option<String>,
    /// What going down loses of rows.
    pub down_loses: Option<String>,
}

impl Pair {
    /// A pair of two statements in the transaction.
    pub(crate) fn sql(up: impl Into<String>, down: impl Into<String>) -> Self {
        Self::of(PlannedAction::Sql(up.into()), PlannedAction::Sql(down.into()))
    }

    pub(crate) fn of(up: PlannedAction, down: PlannedAction) -> Self {
        Self { up, down, up_loses: None, down_loses: None }
    }

    pub(crate) fn reversed(self) -> Self {
        Self { up: self.down, down: self.up, up_loses: self.down_loses, down_loses: self.up_loses }
    }
}

//! Changes of a SQLite table that its ALTER TABLE can't make.

/// A rebuild of a table of SQLite with some changes. Everything else is kept byte for byte:
/// columns, constraints with and without a name, indexes, triggers, rows.
///
/// SQLite's page "ALTER TABLE", section 7, has the order of work that `runner` follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// The table.
    pub table: String,
    /// What changes, in order.
    pub changes: Vec<TableChange>,
}

/// A change of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// A column gets another definition, in its place.
    ChangeColumn {
        /// The column.
        column: String,
        /// The whole definition, which may have another name.
        definition: String,
        /// Whether keys, CHECKs and references that the new definition lacks may go.
        may_lose_constraints: bool,
    },
    /// A column must not be NULL any more.
    SetNotNull {
        /// The column.
        column: String,
    },
    /// A column may be NULL.
    DropNotNull {
        /// The column.
        column: String,
    },
    /// A column is added, after the last.
    AddColumn {
        /// Its definition.
        definition: String,
        /// What the rows that exist get, as an expression over the old columns; its default
        /// otherwise.
        value: Option<String>,
    },
    /// A column is dropped, with its values.
    DropColumn {
        /// The column.
        column: String,
    },
    /// A constraint of the table is added, after the last.
    AddConstraint {
        /// `CONSTRAINT "name" …`.
        definition: String,
    },
    /// A constraint of the table is dropped.
    DropConstraint {
        /// Its name.
        name: String,
    },
    /// A constraint of the table gets another definition, in its place.
    ReplaceConstraint {
        /// Its name.
        name: String,
        /// `CONSTRAINT "name" …`.
        definition: String,
    },
    /// The table gets another definition, the whole of it. Columns of both keep their values.
    Define {
        /// The CREATE TABLE.
        create: String,
    },
    /// A column is filled with something else than its old values.
    Copy {
        /// The column, by its new name.
        column: String,
        /// An expression over the old columns.
        value: String,
    },
}

impl Rebuild {
    /// Of a table, without a change yet.
    pub fn of(table: &str) -> Self {
        Self { table: table.to_owned(), changes: Vec::new() }
    }

    fn with(mut self, change: TableChange) -> Self {
        self.changes.push(change);
        self
    }

    /// Gives a column another definition, the whole of it: `"title" text NOT NULL`. It is refused
    /// where the old one has a key, a CHECK or a reference that the new one lacks.
    #[must_use]
    pub fn change_column(self, column: &str, definition: &str) -> Self {
        self.with(TableChange::ChangeColumn {
            column: column.into(),
            definition: definition.into(),
            may_lose_constraints: false,
        })
    }

    /// The same, and what the new definition lacks is dropped.
    #[must_use]
    pub fn replace_column(self, column: &str, definition: &str) -> Self {
        self.with(TableChange::ChangeColumn {
            column: column.into(),
            definition: definition.into(),
            may_lose_constraints: true,
        })
    }

    /// Forbids NULL in a column; the rest of its definition stays.
    #[must_use]
    pub fn set_not_null(self, column: &str) -> Self {
        self.with(TableChange::SetNotNull { column: column.into() })
    }

    /// Allows NULL in a column; the rest of its definition stays.
    #[must_use]
    pub fn drop_not_null(self, column: &str) -> Self {
        self.with(TableChange::DropNotNull { column: column.into() })
    }

    /// Adds a column; `value` is what rows that exist get.
    #[must_use]
    pub fn add_column(self, definition: &str, value: Option<&str>) -> Self {
        let value = value.map(Into::into);
        self.with(TableChange::AddColumn { definition: definition.into(), value })
    }

    /// Drops a column.
    #[must_use]
    pub fn drop_column(self, column: &str) -> Self {
        self.with(TableChange::DropColumn { column: column.into() })
    }

    /// Adds a constraint of the table.
    #[must_use]
    pub fn add_constraint(self, definition: &str) -> Self {
        self.with(TableChange::AddConstraint { definition: definition.into() })
    }

    /// Drops a constraint of the table.
    #[must_use]
    pub fn drop_constraint(self, name: &str) -> Self {
        self.with(TableChange::DropConstraint { name: name.into() })
    }

    /// Gives a constraint of the table another definition.
    #[must_use]
    pub fn replace_constraint(self, name: &str, definition: &str) -> Self {
        self.with(TableChange::ReplaceConstraint {
            name: name.into(),
            definition: definition.into(),
        })
    }

    /// Gives the table another definition, a whole CREATE TABLE. Columns of both definitions keep
    /// their values, new ones get their defaults.
    #[must_use]
    pub fn define(self, create: &str) -> Self {
        self.with(TableChange::Define { create: create.into() })
    }

    /// Fills a column with an expression over the old columns.
    #[must_use]
    pub fn copy(self, column: &str, value: &str) -> Self {
        self.with(TableChange::Copy { column: column.into(), value: value.into() })
    }

    /// The same with every text changed.
    pub(super) fn map(&self, change: impl Fn(&String) -> String) -> Self {
        let changes = self.changes.iter().cloned().map(|mut step| {
            match &mut step {
                TableChange::ChangeColumn { definition, .. }
                | TableChange::AddConstraint { definition }
                | TableChange::ReplaceConstraint { definition, .. } => {
                    *definition = change(definition)
                }
                TableChange::AddColumn { definition, value } => {
                    *definition = change(definition);
                    *value = value.as_ref().map(&change);
                }
                TableChange::Copy { value, .. } => *value = change(value),
                TableChange::Define { create } => *create = change(create),
                TableChange::SetNotNull { .. }
                | TableChange::DropNotNull { .. }
                | TableChange::DropColumn { .. }
                | TableChange::DropConstraint { .. } => {}
            }
            step
        });
        Self { table: self.table.clone(), changes: changes.collect() }
    }

    /// The text that is hashed.
    pub(super) fn canonical(&self, fold: impl Fn(&str) -> String) -> String {
        let folded = self.map(|text| fold(text));
        format!("{} {:?}", folded.table, folded.changes)
    }
}

//! The objects of a schema, by kind, table and name.

use std::collections::{BTreeMap, HashMap};

use crate::expression::{ColumnType, Engine};

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `table`, `column`, `primary key`, `unique`, `foreign key`, `check`, `index`, `trigger` and
    /// so on.
    pub kind: String,
    /// The table that it belongs to; empty of what belongs to none.
    pub table: String,
    /// Its name, of a function with the types of its arguments.
    pub name: String,
}

impl ObjectKey {
    /// A key of its parts.
    pub fn new(kind: &str, table: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), table: table.to_owned(), name: name.to_owned() }
    }

    /// Whether it is a key, a foreign key, a CHECK or an exclusion.
    pub fn is_constraint(&self) -> bool {
        CONSTRAINTS.contains(&self.kind.as_str())
    }

    /// Its name in messages: `users.email`, `users_email_key`.
    pub fn display(&self) -> String {
        match self.kind.as_str() {
            "column" => format!("{}.{}", self.table, self.name),
            _ => self.name.clone(),
        }
    }
}

/// The kinds of objects that are constraints.
pub const CONSTRAINTS: &[&str] = &["primary key", "unique", "foreign key", "check", "exclusion"];

/// The facets of an object by name. A missing facet has its default.
pub type Facets = BTreeMap<String, String>;

/// The objects of one schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The engine that it was read from.
    pub engine: Engine,
    /// Every object with its facets.
    pub objects: BTreeMap<ObjectKey, Facets>,
}

impl Catalog {
    /// A catalog without objects.
    pub fn new(engine: Engine) -> Self {
        Self { engine, objects: BTreeMap::new() }
    }

    /// Adds a facet to an object, and the object if it isn't there.
    pub fn set(&mut self, key: &ObjectKey, facet: &str, value: impl Into<String>) {
        let facets = self.objects.entry(key.clone()).or_default();
        facets.insert(facet.to_owned(), value.into());
    }

    /// A facet of an object.
    pub fn facet(&self, key: &ObjectKey, facet: &str) -> Option<&str> {
        self.objects.get(key)?.get(facet).map(String::as_str)
    }

    /// The objects of a table, without the table itself.
    pub fn of_table<'a>(
        &'a self,
        table: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Facets)> {
        self.objects.iter().filter(move |(key, _)| key.table == table)
    }

    /// Whether there is such a table.
    pub fn has_table(&self, table: &str) -> bool {
        self.objects.contains_key(&ObjectKey::new("table", "", table))
    }

    /// The columns of a table in their order.
    pub fn columns<'a>(&'a self, table: &'a str) -> Vec<(&'a ObjectKey, &'a Facets)> {
        let mut columns: Vec<_> =
            self.of_table(table).filter(|(key, _)| key.kind == "column").collect();
        let place =
            |facets: &Facets| facets.get("position").and_then(|text| text.parse::<u32>().ok());
        columns.sort_by_key(|(_, facets)| place(facets));
        columns
    }

    /// The types of a table's columns by their names.
    pub fn column_types(&self, table: &str) -> HashMap<String, ColumnType> {
        let column = |(key, facets): (&ObjectKey, &Facets)| {
            let type_name = facets.get("type").cloned().unwrap_or_default();
            (
                key.name.clone(),
                ColumnType { type_name, collation: facets.get("collation").cloned() },
            )
        };
        self.columns(table).into_iter().map(column).collect()
    }
}

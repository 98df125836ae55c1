//! Objects under another name: the same definition, so one rename and not a drop and an addition.

use std::collections::{BTreeMap, HashMap};

use crate::catalog::{Catalog, Facets, ObjectKey};

/// Tables, columns and functions that have another name: from the old one to the new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    /// Tables.
    pub tables: HashMap<String, String>,
    /// Columns, by the old name of their table and their own.
    pub columns: HashMap<(String, String), String>,
    /// Functions, without their arguments.
    pub functions: HashMap<String, String>,
}

impl Renames {
    /// Finds tables with the same columns, and columns with the same definition at the same place.
    pub fn guess(expected: &Catalog, found: &Catalog) -> Self {
        let mut renames = Self::default();
        let tables = |catalog: &Catalog, other: &Catalog| -> Vec<String> {
            let keys = catalog.objects.keys().filter(|key| key.kind == "table");
            keys.filter(|key| !other.objects.contains_key(*key))
                .map(|key| key.name.clone())
                .collect()
        };
        let mut added = tables(found, expected);
        for old in tables(expected, found) {
            let before = shape(expected, &old);
            if let Some(at) = added.iter().position(|new| shape(found, new) == before) {
                renames.tables.insert(old, added.remove(at));
            }
        }
        for key in expected.objects.keys().filter(|key| key.kind == "table") {
            let new = renames.new_table(&key.name);
            let before = expected.columns(&key.name);
            let after = found.columns(&new);
            for (old, facets) in &before {
                if after.iter().any(|(key, _)| key.name == old.name) {
                    continue;
                }
                let same = after.iter().find(|(key, other)| {
                    definition(facets) == definition(other)
                        && facets.get("position") == other.get("position")
                        && !before.iter().any(|(known, _)| known.name == key.name)
                });
                if let Some((key, _)) = same {
                    renames.columns.insert((old.table.clone(), old.name.clone()), key.name.clone());
                }
            }
        }
        renames.guess_functions(expected, found);
        renames
    }

    fn guess_functions(&mut self, expected: &Catalog, found: &Catalog) {
        let functions = |catalog: &Catalog, other: &Catalog| -> Vec<(String, Facets)> {
            let all = catalog.objects.iter().filter(|(key, _)| key.kind == "function");
            let own = all.filter(|(key, _)| !other.objects.contains_key(*key));
            own.map(|(key, facets)| (key.name.clone(), definition(facets))).collect()
        };
        let mut added = functions(found, expected);
        for (old, facets) in functions(expected, found) {
            if let Some(at) = added.iter().position(|(_, other)| *other == facets) {
                let (new, _) = added.remove(at);
                self.functions.insert(bare(&old).to_owned(), bare(&new).to_owned());
            }
        }
    }

    /// Whether nothing has another name.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.columns.is_empty() && self.functions.is_empty()
    }

    /// A table's new name.
    pub fn new_table(&self, table: &str) -> String {
        self.tables.get(table).cloned().unwrap_or_else(|| table.to_owned())
    }

    /// A table's old name.
    pub fn old_table(&self, table: &str) -> String {
        let renamed = self.tables.iter().find(|(_, new)| *new == table);
        renamed.map_or(table, |(old, _)| old).to_owned()
    }

    /// The new names of the columns of a table, which has its old name here.
    pub fn columns_of(&self, table: &str) -> HashMap<String, String> {
        let own = self.columns.iter().filter(|((owner, _), _)| owner == table);
        own.map(|((_, old), new)| (old.clone(), new.clone())).collect()
    }

    /// The key under which an object is found.
    pub fn new_key(&self, key: &ObjectKey) -> ObjectKey {
        let column = || self.columns.get(&(key.table.clone(), key.name.clone())).cloned();
        let name = match key.kind.as_str() {
            "table" => self.new_table(&key.name),
            "column" => column().unwrap_or_else(|| key.name.clone()),
            "function" => match self.functions.get(bare(&key.name)) {
                Some(new) => key.name.replacen(bare(&key.name), new, 1),
                None => key.name.clone(),
            },
            _ => key.name.clone(),
        };
        ObjectKey { kind: key.kind.clone(), table: self.new_table(&key.table), name }
    }
}

/// A function's name without its arguments.
pub(crate) fn bare(function: &str) -> &str {
    function.split('(').next().unwrap_or(function)
}

/// What a column is, apart from its name.
fn definition(facets: &Facets) -> Facets {
    let mut facets = facets.clone();
    facets.remove("sql");
    facets
}

/// A table by the definitions of its columns.
fn shape(catalog: &Catalog, table: &str) -> BTreeMap<String, Facets> {
    let columns = catalog.columns(table).into_iter();
    columns.map(|(key, facets)| (key.name.clone(), facets.clone())).collect()
}

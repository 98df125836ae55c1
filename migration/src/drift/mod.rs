//! The differences between two schemas: what the migrations make, and what is there.
//!
//! [`compare`] finds them, with renames seen as such and with what follows from another difference
//! reported along with it. [`Comparison::findings`] describes them.

mod facets;
mod finding;
mod fold;
mod rename;
mod repair;
mod words;

use std::collections::BTreeSet;

pub use self::{
    finding::{Finding, Level, Loss, Repair},
    rename::Renames,
};
use crate::catalog::{Catalog, Key};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is there and isn't expected.
    Added,
    /// It is expected and isn't there.
    Removed,
    /// It is there under another name.
    Renamed,
    /// It is there and is something else.
    Changed,
    /// The columns of the table are there in another order.
    Order,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What happened.
    pub change: Change,
    /// The object as it is expected.
    pub expected: Option<Key>,
    /// The object as it is found.
    pub found: Option<Key>,
    /// The facets that differ.
    pub facets: Vec<String>,
    /// Objects that came or went along with it.
    pub along: Vec<Key>,
}

impl Difference {
    /// The object: as it is found, or as it is expected where it isn't there.
    pub fn key(&self) -> &Key {
        match (&self.found, &self.expected) {
            (Some(key), _) | (None, Some(key)) => key,
            (None, None) => unreachable!("a difference is about an object"),
        }
    }
}

/// Two schemas and their differences.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// What the migrations make.
    pub expected: &'a Catalog,
    /// What is there.
    pub found: &'a Catalog,
    /// Tables and columns that have another name.
    pub renames: Renames,
    /// The differences, by kind of object and name.
    pub differences: Vec<Difference>,
}

/// Compares two schemas of one engine. Renames of tables and columns are guessed: the same
/// definition at the same place under another name.
pub fn compare<'a>(expected: &'a Catalog, found: &'a Catalog) -> Comparison<'a> {
    compare_renamed(expected, found, Renames::guess(expected, found))
}

/// Compares two schemas whose renames are known.
pub fn compare_renamed<'a>(
    expected: &'a Catalog,
    found: &'a Catalog,
    renames: Renames,
) -> Comparison<'a> {
    let mut differences = Vec::new();
    let mut seen = BTreeSet::new();
    for key in expected.objects.keys() {
        let there = renames.new_key(key);
        let mut difference = Difference {
            change: Change::Removed,
            expected: Some(key.clone()),
            found: None,
            facets: Vec::new(),
            along: Vec::new(),
        };
        if found.objects.contains_key(&there) {
            seen.insert(there.clone());
            let is_renamed = there.name != key.name;
            difference.facets = facets::differing(expected, found, key, &there, &renames);
            difference.found = Some(there);
            if is_renamed {
                let renamed = Difference {
                    change: Change::Renamed,
                    facets: Vec::new(),
                    ..difference.clone()
                };
                differences.push(renamed);
            }
            if difference.facets.is_empty() {
                continue;
            }
            difference.change = Change::Changed;
        }
        differences.push(difference);
    }
    for key in found.objects.keys().filter(|key| !seen.contains(*key)) {
        differences.push(Difference {
            change: Change::Added,
            expected: None,
            found: Some(key.clone()),
            facets: Vec::new(),
            along: Vec::new(),
        });
    }
    rename::pair(expected, found, &renames, &mut differences);
    differences.extend(order(expected, found, &renames));
    let mut comparison = Comparison { expected, found, renames, differences };
    fold::fold(&mut comparison);
    comparison
}

/// Tables whose common columns stand in another order.
fn order(expected: &Catalog, found: &Catalog, renames: &Renames) -> Vec<Difference> {
    let mut differences = Vec::new();
    for key in expected.objects.keys().filter(|key| key.kind == "table") {
        let there = renames.new_key(key);
        let names = |catalog: &Catalog, table: &str| -> Vec<Key> {
            catalog.columns(table).into_iter().map(|(key, _)| key.clone()).collect()
        };
        let mut before: Vec<Key> =
            names(expected, &key.name).iter().map(|column| renames.new_key(column)).collect();
        let mut after = names(found, &there.name);
        before.retain(|column| after.contains(column));
        after.retain(|column| before.contains(column));
        if before != after {
            differences.push(Difference {
                change: Change::Order,
                expected: Some(key.clone()),
                found: Some(there),
                facets: Vec::new(),
                along: Vec::new(),
            });
        }
    }
    differences
}

#[cfg(test)]
mod tests;

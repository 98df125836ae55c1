//! What a difference is.

use super::Renames;
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

//! What a difference is.

use super::Renames;
use crate::catalog::{Catalog, ObjectKey};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// It is there and isn't expected.
    Added,
    /// It is expected and doesn't exist.
    Removed,
    /// It exists under another name.
    Renamed,
    /// It exists with another definition.
    Changed,
    /// The columns of the table have another order.
    Order,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What happened.
    pub change: DifferenceKind,
    /// The object as it is expected.
    pub expected: Option<ObjectKey>,
    /// The object as it is found.
    pub found: Option<ObjectKey>,
    /// The facets that differ.
    pub facets: Vec<String>,
    /// Objects that came or went along with it.
    pub along: Vec<ObjectKey>,
}

impl Difference {
    /// The object: as it is found, or as it is expected where it isn't there.
    pub fn key(&self) -> &ObjectKey {
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

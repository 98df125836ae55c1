//! The rows that a query is for, and the statement that reads them with others.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use sea_orm::{DbBackend, QueryResult};
use uuid::Uuid;

use crate::session::statement_text::CachedStatement;

/// The rows that a query reads by their ids.
#[derive(Clone, Copy, Debug)]
pub struct RowsById<'a> {
    /// What kind of rows they are.
    pub kind: RowKind,
    /// Their ids.
    pub ids: &'a [Uuid],
    /// The most bytes of all rows together. A query that has more runs its own statement.
    pub most: usize,
}

/// Rows that one statement can read: those of one table, with the same columns and the same
/// related rows. Kinds are equal if their resources and forms are.
#[derive(Clone, Copy, Debug)]
pub struct RowKind {
    /// The resource, in the singular: `book`.
    pub resource: &'static str,
    /// A number for the columns and related rows that are read.
    pub form: u8,
    /// Whether there are several rows for an id: the related ones.
    pub has_related: bool,
    /// Makes the statement of a form that reads the rows with these ids, each once. Its text
    /// doesn't depend on the number of ids. The column `id` holds the id that a row was read for.
    pub statement: fn(DbBackend, u8, &[Uuid]) -> CachedStatement,
}

impl PartialEq for RowKind {
    fn eq(&self, other: &Self) -> bool {
        (self.resource, self.form) == (other.resource, other.form)
    }
}

impl Eq for RowKind {}

impl Hash for RowKind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.resource, self.form).hash(state);
    }
}

/// The rows that a batch has read.
#[derive(Debug, Default)]
pub struct SharedRows(HashMap<Uuid, RowsOfId>);

/// The rows that were read for one id.
#[derive(Debug, Default)]
struct RowsOfId {
    /// Several members may have asked for them.
    rows: Mutex<Vec<QueryResult>>,
    /// The bytes of their values.
    size: usize,
    /// The memory that they take, in bytes.
    weight: usize,
}

impl SharedRows {
    pub(super) fn with_capacity(ids: usize) -> Self {
        Self(HashMap::with_capacity(ids))
    }

    /// Adds a row that was read for an id.
    pub(super) fn add(&mut self, id: Uuid, row: QueryResult, size: usize, weight: usize) {
        let of_id = self.0.entry(id).or_default();
        of_id.size += size;
        of_id.weight += weight;
        of_id.rows.get_mut().unwrap_or_else(PoisonError::into_inner).push(row);
    }

    /// Whether there are rows for an id.
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.0.contains_key(&id)
    }

    /// The bytes of the values of these ids' rows, and the memory that they take.
    pub(super) fn sizes(&self, ids: &[Uuid]) -> (usize, usize) {
        let found = ids.iter().filter_map(|id| self.0.get(id));
        found.fold((0, 0), |(size, weight), it| (size + it.size, weight + it.weight))
    }

    /// Makes something of the rows that were read for an id; there are none if it doesn't exist. One
    /// caller at a time does: a row of SQLite is not for several threads at once.
    pub fn of<T>(&self, id: Uuid, make: impl FnOnce(&[QueryResult]) -> T) -> T {
        match self.0.get(&id) {
            None => make(&[]),
            Some(of_id) => make(&of_id.rows.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

//! The objects of a database's schema, read from the engine's own catalogs.
//!
//! An object is identified by its kind, its table and its name, and has facets: a column has a
//! `type` and a `default`, an index has `keys`. The readers fill a [`Catalog`] from a connection
//! that is handed in; they change nothing and take no lock but ACCESS SHARE.

mod objects;
mod postgres;
mod read;
mod snapshot;
mod sqlite;

pub use self::{
    objects::{CONSTRAINTS, Catalog, Facets, ObjectKey},
    snapshot::SnapshotError,
};

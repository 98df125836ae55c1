//! Reads and writes of rows, for any resource: SeaORM generics over the store's connections.
//!
//! It knows neither the wire nor a table; a [`Resource`] tells it what it needs.
//!
//! | Module | Holds |
//! |---|---|
//! | [`crud`] | [`Resource`]; get, insert, update, delete by id, in batches too; imports |
//! | [`list`] | one page of a list, and its total |
//! | [`search`] | one page of a search's results, best matches first |
//! | [`children`] | rows that belong to the rows of an answer |
//! | [`page`], [`page_token`] | the statement of a page, and where the next one begins |
//! | [`filter`], [`order`] | the language of AIP-160 and `order_by`, checked against a resource's fields |
//! | [`field`] | the fields of a resource that can be filtered or sorted by |
//! | [`mean`] | means that are equal on both engines |
//!
//! Imports point downward in this table, and no two files import each other.

pub mod children;
pub mod crud;
pub mod field;
pub mod filter;
pub mod list;
pub mod mean;
pub mod order;
pub mod page;
pub mod page_token;
pub mod search;

pub use self::crud::Resource;

/// What a query takes.
pub trait Input {
    /// Whether the query may look at any number of rows ([`bookstore_store::Query::SCANS`]).
    const SCANS: bool;
}

impl Input for uuid::Uuid {
    const SCANS: bool = false;
}

impl Input for crud::One {
    const SCANS: bool = false;
}

impl Input for crud::Ids {
    const SCANS: bool = false;
}

impl Input for list::ListQuery {
    const SCANS: bool = true;
}

impl Input for search::SearchQuery {
    const SCANS: bool = true;
}

//! Reads and writes of rows, for any resource: SeaORM generics over the store's connections.
//!
//! It depends on neither the contract nor a table. A [`Resource`] supplies these.
//!
//! | Module | Holds |
//! |---|---|
//! | [`explain`] | the plan of a list, and advice on it |
//! | [`search`] | one page of the results of a full-text search |
//! | [`list`] | one page of a list, and its total |
//! | [`children`] | rows that belong to the rows of an answer |
//! | [`crud`] | [`Resource`]; get, insert, update and delete by id, in batches too; imports |
//! | [`page_token`], [`page`] | where the next page begins, and the statement of a page |
//! | [`filter`], [`order`] | the languages of `filter` (AIP-160) and `order_by` (AIP-132) |
//! | [`field`] | the fields of a resource that a list can filter or sort by |
//! | [`mean`] | means that are equal on both engines |
//!
//! Imports point downward in this table, and no two files import each other.

pub mod children;
pub mod crud;
pub mod explain;
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
pub trait QueryInput {
    /// Whether the query may look at any number of rows ([`bookstore_store::Query::SCANS`]).
    const SCANS: bool;
}

impl QueryInput for uuid::Uuid {
    const SCANS: bool = false;
}

impl QueryInput for crud::One {
    const SCANS: bool = false;
}

impl QueryInput for crud::Ids {
    const SCANS: bool = false;
}

impl QueryInput for list::ListQuery {
    const SCANS: bool = true;
}

impl QueryInput for search::SearchQuery {
    const SCANS: bool = true;
}

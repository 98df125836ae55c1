//! Bulk imports and exports of books, each a stream.

mod convert;
mod operations;
mod service;

use bookstore_proto::v1::{
    ExportBooksRequest, ImportBooksRequest, book_transfer_service_server::SERVICE_NAME,
};
use bookstore_query::list::ListDefinition;

use super::{Entry, book::Book};
use crate::rpc::registry::Registry;

/// The registration of imports and exports.
pub const ENTRY: Entry = Entry {
    name: SERVICE_NAME,
    list: Some(ListDefinition::of::<Book>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.direct::<ImportBooksRequest>();
    registry.direct::<ExportBooksRequest>();
}

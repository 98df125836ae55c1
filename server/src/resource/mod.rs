//! The resources, one folder each: the index of what the service serves.

pub mod book;
pub mod book_transfer;
pub mod cart;
pub mod category;
pub mod item;
pub mod order;
pub mod post;
pub mod review;
pub mod user;

use bookstore_query::field::Fields;
use tonic::service::RoutesBuilder;

use crate::rpc::{calls::Calls, registry::Registry};

/// A resource's place in the service: its health name, its methods, its service.
pub struct Entry {
    /// The service's full name, which is also its name in health checks.
    pub name: &'static str,
    /// What its lists filter and sort by; none if there is no list.
    pub fields: Option<Fields>,
    /// Adds the methods to the registry.
    pub register: fn(&mut Registry),
    /// Adds the service to the server.
    pub serve: fn(&mut RoutesBuilder, Calls),
}

/// Every resource.
pub const RESOURCES: &[Entry] = &[
    book::ENTRY,
    book_transfer::ENTRY,
    cart::ENTRY,
    category::ENTRY,
    item::ENTRY,
    order::ENTRY,
    post::ENTRY,
    review::ENTRY,
    user::ENTRY,
];

//! Carts: what users are about to buy.

mod convert;
mod operations;
mod service;

use bookstore_proto::v1::{GetCartRequest, cart_service_server};

use super::Entry;
use crate::rpc::registry::Registry;

/// The place of carts in the service.
pub const ENTRY: Entry = Entry {
    name: cart_service_server::SERVICE_NAME,
    fields: None,
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetCartRequest>();
}

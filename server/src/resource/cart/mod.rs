//! Carts: the books that users are about to buy.

mod convert;
mod operations;
mod service;

use bookstore_proto::v1::{
    AddCartItemRequest, CheckoutRequest, ClearCartRequest, GetCartRequest, RemoveCartItemRequest,
    UpdateCartItemRequest, cart_service_server,
};
use bookstore_store::{Constraint, ConstraintRule};

use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of carts.
pub const ENTRY: Entry = Entry {
    name: cart_service_server::SERVICE_NAME,
    fields: None,
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetCartRequest>();
    registry.write::<AddCartItemRequest>();
    registry.write::<UpdateCartItemRequest>();
    registry.write::<RemoveCartItemRequest>();
    registry.write::<ClearCartRequest>();
    registry.write::<CheckoutRequest>();
}

/// A book that is put into a cart must exist.
static ITEM_BOOK: Constraint = Constraint {
    name: "cart_items_book_id_fkey",
    rule: ConstraintRule::Exists("books", "book"),
    table: "cart_items",
    columns: &["book_id"],
    field: "book_id",
};

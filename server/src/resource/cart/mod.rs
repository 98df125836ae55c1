//! Carts: the books that users are about to buy.

mod convert;
mod operations;
mod service;

use bookstore_entity::cart;
use bookstore_proto::v1::{
    AddCartItemRequest, CheckoutRequest, ClearCartRequest, GetCartRequest, ListCartsRequest,
    RemoveCartItemRequest, UpdateCartItemRequest, cart_service_server,
};
use bookstore_query::{
    Resource,
    field::{ChildTable, Field, Kind, ResourceFields},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of carts.
pub const ENTRY: Entry = Entry {
    name: cart_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<Cart>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetCartRequest>();
    registry.read::<ListCartsRequest>();
    registry.write::<AddCartItemRequest>();
    registry.write::<UpdateCartItemRequest>();
    registry.write::<RemoveCartItemRequest>();
    registry.write::<ClearCartRequest>();
    registry.write::<CheckoutRequest>();
}

/// The rows of the items of carts.
const ITEMS: ChildTable = ChildTable { table: "cart_items", parent: "cart_id" };

/// The resource.
pub struct Cart;

impl Resource for Cart {
    const NAME: &'static str = "cart";
    type Entity = cart::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "carts",
        default_order: "create_time desc",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { kind: Kind::Id, ..Field::filterable("user_id", "user_id") },
            Field::in_children("items.book_id", "book_id", ITEMS),
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
            Field { kind: Kind::Time, ..Field::filterable("update_time", "updated_at") },
        ],
    };
    const CONSTRAINTS: &'static [Constraint] = &[];
    bookstore_query::columns_in_order!(bookstore_entity::cart::Model {
        id,
        user_id,
        created_at,
        updated_at,
        version
    });
}

/// A book that is put into a cart must exist.
static ITEM_BOOK: Constraint = Constraint {
    name: "cart_items_book_id_fkey",
    rule: ConstraintRule::Exists("books", "book"),
    table: "cart_items",
    columns: &["book_id"],
    field: "book_id",
};

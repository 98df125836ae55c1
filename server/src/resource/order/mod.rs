//! Orders of users, with their items.

mod convert;
mod operations;
mod placed;
mod placing;
mod service;
mod whole;

use bookstore_entity::order;
use bookstore_proto::v1::{
    BatchGetOrdersRequest, CancelOrderRequest, ConfirmOrderRequest, DeliverOrderRequest,
    GetOrderRequest, ListOrdersRequest, PlaceOrderRequest, ShipOrderRequest, order_service_server,
};
use bookstore_query::{
    Resource,
    field::{ChildTable, Field, Kind, ResourceFields},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

pub use self::{
    convert::message,
    placed::{NewOrder, OrderItemRow, OrderLine, WithItems},
    placing::{constraint_checks, place},
};
use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of orders.
pub const ENTRY: Entry = Entry {
    name: order_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<Order>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetOrderRequest>();
    registry.read::<ListOrdersRequest>();
    registry.read::<BatchGetOrdersRequest>();
    registry.write::<PlaceOrderRequest>();
    registry.write::<ConfirmOrderRequest>();
    registry.write::<ShipOrderRequest>();
    registry.write::<DeliverOrderRequest>();
    registry.write::<CancelOrderRequest>();
}

/// The statuses as the contract names them, each with the text that its column holds.
const STATUSES: &[(&str, &str)] = &[
    ("ORDER_STATUS_PENDING", PENDING),
    ("ORDER_STATUS_CONFIRMED", CONFIRMED),
    ("ORDER_STATUS_SHIPPED", SHIPPED),
    ("ORDER_STATUS_DELIVERED", DELIVERED),
    ("ORDER_STATUS_CANCELLED", CANCELLED),
];

const PENDING: &str = "PENDING";
const CONFIRMED: &str = "CONFIRMED";
const SHIPPED: &str = "SHIPPED";
const DELIVERED: &str = "DELIVERED";
const CANCELLED: &str = "CANCELLED";

/// The transitions of an order's status: each status with those from which it can be reached.
const TRANSITIONS: &[(&str, &[&str])] = &[
    (CONFIRMED, &[PENDING]),
    (SHIPPED, &[CONFIRMED]),
    (DELIVERED, &[SHIPPED]),
    (CANCELLED, &[PENDING, CONFIRMED]),
];

/// The rows of the items of orders.
const ITEMS: ChildTable = ChildTable { table: "order_items", parent: "order_id" };

/// The resource.
pub struct Order;

impl Resource for Order {
    const NAME: &'static str = "order";
    type Entity = order::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "orders",
        default_order: "create_time desc",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { kind: Kind::Id, ..Field::filterable("user_id", "user_id") },
            Field { kind: Kind::Enum(STATUSES), ..Field::filterable("status", "status") },
            Field {
                kind: Kind::Micros,
                sortable: true,
                ..Field::filterable("total", "total_micros")
            },
            Field::filterable("total.currency_code", "currency_code"),
            Field::filterable("shipping_address", "shipping_address"),
            Field::in_children("items.book_id", "book_id", ITEMS),
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
            Field { kind: Kind::Time, ..Field::filterable("update_time", "updated_at") },
        ],
    };
    const CONSTRAINTS: &'static [Constraint] = &[
        Constraint {
            name: "orders_pkey",
            rule: ConstraintRule::Unique,
            table: "orders",
            columns: &["id"],
            field: "id",
        },
        Constraint {
            name: "orders_user_id_fkey",
            rule: ConstraintRule::Exists("users", "user"),
            table: "orders",
            columns: &["user_id"],
            field: "user_id",
        },
    ];
    bookstore_query::columns_in_order!(bookstore_entity::order::Model {
        id,
        user_id,
        status,
        total_micros,
        currency_code,
        shipping_address,
        created_at,
        updated_at,
        version
    });
}

//! Items: merchandise other than books.

mod convert;
mod operations;
mod service;

use bookstore_entity::item;
use bookstore_proto::v1::{
    BatchCreateItemsRequest, BatchDeleteItemsRequest, BatchGetItemsRequest,
    BatchUpdateItemsRequest, CreateItemRequest, DeleteItemRequest, GetItemRequest,
    ListItemsRequest, UpdateItemRequest, item_service_server,
};
use bookstore_query::{
    Resource,
    field::{Field, Kind, ResourceFields},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of items.
pub const ENTRY: Entry = Entry {
    name: item_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<Item>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetItemRequest>();
    registry.read::<ListItemsRequest>();
    registry.write::<CreateItemRequest>();
    registry.write::<UpdateItemRequest>();
    registry.write::<DeleteItemRequest>();
    registry.read::<BatchGetItemsRequest>();
    registry.write::<BatchCreateItemsRequest>();
    registry.write::<BatchUpdateItemsRequest>();
    registry.write::<BatchDeleteItemsRequest>();
}

/// The resource.
pub struct Item;

impl Resource for Item {
    const NAME: &'static str = "item";
    type Entity = item::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "items",
        default_order: "create_time desc",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { sortable: true, ..Field::filterable("name", "name") },
            Field { sortable: true, ..Field::filterable("status", "status") },
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
            Field { kind: Kind::Time, ..Field::filterable("update_time", "updated_at") },
            Field { kind: Kind::Json, ..Field::filterable("payload", "payload") },
        ],
    };
    const LARGE: &'static [&'static str] = &["payload"];
    const CONSTRAINTS: &'static [Constraint] = &[Constraint {
        name: "items_pkey",
        rule: ConstraintRule::Unique,
        table: "items",
        columns: &["id"],
        field: "id",
    }];
    bookstore_query::columns_in_order!(bookstore_entity::item::Model {
        id,
        name,
        status,
        payload,
        created_at,
        updated_at,
        version
    });
}

//! Categories of books.

mod convert;
mod operations;
mod service;

use bookstore_entity::category;
use bookstore_proto::v1::{
    BatchCreateCategoriesRequest, BatchDeleteCategoriesRequest, BatchGetCategoriesRequest,
    BatchUpdateCategoriesRequest, CreateCategoryRequest, DeleteCategoryRequest, GetCategoryRequest,
    GetCategoryStatsRequest, ListCategoriesRequest, UpdateCategoryRequest, category_service_server,
};
use bookstore_query::{
    Resource,
    field::{Field, Kind, ResourceFields},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of categories.
pub const ENTRY: Entry = Entry {
    name: category_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<Category>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetCategoryRequest>();
    registry.read::<ListCategoriesRequest>();
    registry.write::<CreateCategoryRequest>();
    registry.write::<UpdateCategoryRequest>();
    registry.write::<DeleteCategoryRequest>();
    registry.read::<BatchGetCategoriesRequest>();
    registry.write::<BatchCreateCategoriesRequest>();
    registry.write::<BatchUpdateCategoriesRequest>();
    registry.write::<BatchDeleteCategoriesRequest>();
    registry.read::<GetCategoryStatsRequest>();
}

/// The resource.
pub struct Category;

impl Resource for Category {
    const NAME: &'static str = "category";
    type Entity = category::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "categories",
        default_order: "name",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { sortable: true, ..Field::filterable("name", "name") },
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
        ],
    };
    const LARGE: &'static [&'static str] = &["description"];
    const CONSTRAINTS: &'static [Constraint] = &[
        Constraint {
            name: "categories_pkey",
            rule: ConstraintRule::Unique,
            table: "categories",
            columns: &["id"],
            field: "id",
        },
        Constraint {
            name: "categories_name_key",
            rule: ConstraintRule::Unique,
            table: "categories",
            columns: &["name"],
            field: "name",
        },
    ];
    bookstore_query::columns_in_order!(bookstore_entity::category::Model {
        id,
        name,
        description,
        created_at,
        updated_at,
        version
    });
}

//! Books: their catalogue data, prices and stock.

mod convert;
mod operations;
mod search;
mod service;
mod view;
mod view_form;

use bookstore_entity::book;
use bookstore_proto::v1::{
    BatchCreateBooksRequest, BatchDeleteBooksRequest, BatchGetBooksRequest,
    BatchUpdateBooksRequest, CreateBookRequest, DeleteBookRequest, GetBookRequest,
    ListBooksRequest, SearchBooksRequest, UpdateBookRequest, book_service_server,
};
use bookstore_query::{
    Resource,
    field::{Field, Kind, ResourceFields},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of books.
pub const ENTRY: Entry = Entry {
    name: book_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<Book>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetBookRequest>();
    registry.read::<ListBooksRequest>();
    registry.read::<SearchBooksRequest>();
    registry.write::<CreateBookRequest>();
    registry.write::<UpdateBookRequest>();
    registry.write::<DeleteBookRequest>();
    registry.read::<BatchGetBooksRequest>();
    registry.write::<BatchCreateBooksRequest>();
    registry.write::<BatchUpdateBooksRequest>();
    registry.write::<BatchDeleteBooksRequest>();
}

/// The resource.
pub struct Book;

impl Resource for Book {
    const NAME: &'static str = "book";
    type Entity = book::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "books",
        default_order: "create_time desc",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { sortable: true, ..Field::filterable("title", "title") },
            Field { sortable: true, ..Field::filterable("author", "author") },
            Field {
                kind: Kind::LongText,
                nullable: true,
                ..Field::filterable("description", "description")
            },
            Field {
                kind: Kind::Micros,
                sortable: true,
                ..Field::filterable("price", "price_micros")
            },
            Field::filterable("price.currency_code", "currency_code"),
            Field { kind: Kind::Integer, sortable: true, ..Field::filterable("stock", "stock") },
            Field {
                kind: Kind::Id,
                nullable: true,
                ..Field::filterable("category_id", "category_id")
            },
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
            Field { kind: Kind::Time, ..Field::filterable("update_time", "updated_at") },
            Field { kind: Kind::Json, ..Field::filterable("attributes", "attributes") },
        ],
    };
    const LARGE: &'static [&'static str] = &["description", "attributes"];
    const CONSTRAINTS: &'static [Constraint] = &[
        Constraint {
            name: "books_pkey",
            rule: ConstraintRule::Unique,
            table: "books",
            columns: &["id"],
            field: "id",
        },
        Constraint {
            name: "books_category_id_fkey",
            rule: ConstraintRule::Exists("categories", "category"),
            table: "books",
            columns: &["category_id"],
            field: "category_id",
        },
        Constraint {
            name: "order_items_book_id_fkey",
            rule: ConstraintRule::Unused { by: "an order", forced: false },
            table: "order_items",
            columns: &["book_id"],
            field: "id",
        },
    ];
    bookstore_query::columns_in_order!(bookstore_entity::book::Model {
        id,
        title,
        author,
        description,
        price_micros,
        currency_code,
        stock,
        category_id,
        cover_image,
        attributes,
        created_at,
        updated_at,
        version
    });
}

//! Reviews of books by users.

mod convert;
mod operations;
mod service;

use bookstore_entity::review;
use bookstore_proto::v1::{
    BatchCreateReviewsRequest, BatchDeleteReviewsRequest, BatchGetReviewsRequest,
    BatchUpdateReviewsRequest, CreateReviewRequest, DeleteReviewRequest, GetReviewRequest,
    ListReviewsRequest, UpdateReviewRequest, review_service_server,
};
use bookstore_query::{
    Resource,
    field::{Field, Kind, ResourceFields},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of reviews.
pub const ENTRY: Entry = Entry {
    name: review_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<Review>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetReviewRequest>();
    registry.read::<ListReviewsRequest>();
    registry.write::<CreateReviewRequest>();
    registry.write::<UpdateReviewRequest>();
    registry.write::<DeleteReviewRequest>();
    registry.read::<BatchGetReviewsRequest>();
    registry.write::<BatchCreateReviewsRequest>();
    registry.write::<BatchUpdateReviewsRequest>();
    registry.write::<BatchDeleteReviewsRequest>();
}

/// The resource.
pub struct Review;

impl Resource for Review {
    const NAME: &'static str = "review";
    type Entity = review::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "reviews",
        default_order: "create_time desc",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { kind: Kind::Id, ..Field::filterable("user_id", "user_id") },
            Field { kind: Kind::Id, ..Field::filterable("book_id", "book_id") },
            Field { kind: Kind::Double, sortable: true, ..Field::filterable("rating", "rating") },
            Field {
                kind: Kind::LongText,
                nullable: true,
                ..Field::filterable("comment", "comment")
            },
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
            Field { kind: Kind::Time, ..Field::filterable("update_time", "updated_at") },
        ],
    };
    const LARGE: &'static [&'static str] = &["comment"];
    const CONSTRAINTS: &'static [Constraint] = &[
        Constraint {
            name: "reviews_pkey",
            rule: ConstraintRule::Unique,
            table: "reviews",
            columns: &["id"],
            field: "id",
        },
        Constraint {
            name: "reviews_user_id_book_id_key",
            rule: ConstraintRule::Unique,
            table: "reviews",
            columns: &["user_id", "book_id"],
            field: "book_id",
        },
        Constraint {
            name: "reviews_user_id_fkey",
            rule: ConstraintRule::Exists("users", "user"),
            table: "reviews",
            columns: &["user_id"],
            field: "user_id",
        },
        Constraint {
            name: "reviews_book_id_fkey",
            rule: ConstraintRule::Exists("books", "book"),
            table: "reviews",
            columns: &["book_id"],
            field: "book_id",
        },
    ];
    bookstore_query::columns_in_order!(bookstore_entity::review::Model {
        id,
        user_id,
        book_id,
        rating,
        comment,
        created_at,
        updated_at,
        version
    });
}

//! Posts of users.

mod convert;
mod operations;
mod service;

use bookstore_entity::post;
use bookstore_proto::v1::{
    BatchCreatePostsRequest, BatchDeletePostsRequest, BatchGetPostsRequest,
    BatchUpdatePostsRequest, CreatePostRequest, DeletePostRequest, GetPostRequest,
    ListPostsRequest, UpdatePostRequest, post_service_server,
};
use bookstore_query::{
    Resource,
    field::{Field, Kind, ResourceFields},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of posts.
pub const ENTRY: Entry = Entry {
    name: post_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<Post>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetPostRequest>();
    registry.read::<ListPostsRequest>();
    registry.write::<CreatePostRequest>();
    registry.write::<UpdatePostRequest>();
    registry.write::<DeletePostRequest>();
    registry.read::<BatchGetPostsRequest>();
    registry.write::<BatchCreatePostsRequest>();
    registry.write::<BatchUpdatePostsRequest>();
    registry.write::<BatchDeletePostsRequest>();
}

/// The resource.
pub struct Post;

impl Resource for Post {
    const NAME: &'static str = "post";
    type Entity = post::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "posts",
        default_order: "create_time desc",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { sortable: true, ..Field::filterable("title", "title") },
            Field { kind: Kind::LongText, ..Field::filterable("content", "content") },
            Field { kind: Kind::Id, ..Field::filterable("author_id", "author_id") },
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
            Field { kind: Kind::Time, ..Field::filterable("update_time", "updated_at") },
        ],
    };
    const LARGE: &'static [&'static str] = &["content"];
    const CONSTRAINTS: &'static [Constraint] = &[
        Constraint {
            name: "posts_pkey",
            rule: ConstraintRule::Unique,
            table: "posts",
            columns: &["id"],
            field: "id",
        },
        Constraint {
            name: "posts_author_id_fkey",
            rule: ConstraintRule::Exists("users", "user"),
            table: "posts",
            columns: &["author_id"],
            field: "author_id",
        },
    ];
    bookstore_query::columns_in_order!(bookstore_entity::post::Model {
        id,
        title,
        content,
        author_id,
        created_at,
        updated_at,
        version
    });
}

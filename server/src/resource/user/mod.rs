//! Users of the bookstore.

mod convert;
mod import;
mod operations;
mod renewal;
mod service;

use bookstore_entity::user;
use bookstore_proto::v1::{
    BatchCreateUsersRequest, BatchDeleteUsersRequest, BatchGetUsersRequest,
    BatchUpdateUsersRequest, CreateUserRequest, DeleteUserRequest, GetUserRequest,
    ListUserOrderCountsRequest, ListUsersRequest, UpdateUserRequest, VerifyPasswordRequest,
    user_service_server,
};
use bookstore_query::{
    Resource,
    field::{Field, Kind, ResourceFields, WordIndex},
    list::ListDefinition,
};
use bookstore_store::{Constraint, ConstraintRule};

pub use self::{
    import::{ImportedUser, import},
    renewal::renew,
};
use super::Entry;
use crate::rpc::registry::Registry;

/// The registration of users.
pub const ENTRY: Entry = Entry {
    name: user_service_server::SERVICE_NAME,
    list: Some(ListDefinition::of::<User>()),
    register,
    serve: service::serve,
};

fn register(registry: &mut Registry) {
    registry.read::<GetUserRequest>();
    registry.read::<ListUsersRequest>();
    registry.write::<CreateUserRequest>();
    registry.write::<UpdateUserRequest>();
    registry.write::<DeleteUserRequest>();
    registry.read::<BatchGetUsersRequest>();
    registry.write::<BatchCreateUsersRequest>();
    registry.write::<BatchUpdateUsersRequest>();
    registry.write::<BatchDeleteUsersRequest>();
    registry.read_alone::<VerifyPasswordRequest>();
    registry.read::<ListUserOrderCountsRequest>();
}

/// The roles as the contract names them, each with the text that its column holds.
const ROLES: &[(&str, &str)] = &[("ROLE_USER", "USER"), ("ROLE_ADMIN", "ADMIN")];

/// The index of the words of full names.
const WORDS: WordIndex = WordIndex { name: "user_words", keys: "user_word_keys", key: "user_id" };

/// The resource.
pub struct User;

impl Resource for User {
    const NAME: &'static str = "user";
    type Entity = user::Entity;
    const FIELDS: ResourceFields = ResourceFields {
        table: "users",
        default_order: "create_time desc",
        fields: &[
            Field { kind: Kind::Id, ..Field::filterable("id", "id") },
            Field { sortable: true, ..Field::filterable("email", "email") },
            Field { sortable: true, ..Field::filterable("username", "username") },
            Field {
                sortable: true,
                words: Some(WORDS),
                ..Field::filterable("full_name", "full_name")
            },
            Field { kind: Kind::Bool, ..Field::filterable("is_active", "is_active") },
            Field { kind: Kind::Enum(ROLES), ..Field::filterable("role", "role") },
            Field {
                kind: Kind::Time,
                sortable: true,
                ..Field::filterable("create_time", "created_at")
            },
        ],
    };
    const CONSTRAINTS: &'static [Constraint] = &[
        Constraint {
            name: "users_pkey",
            rule: ConstraintRule::Unique,
            table: "users",
            columns: &["id"],
            field: "id",
        },
        Constraint {
            name: "users_email_key",
            rule: ConstraintRule::Unique,
            table: "users",
            columns: &["email"],
            field: "email",
        },
        Constraint {
            name: "carts_user_id_fkey",
            rule: ConstraintRule::Unused { by: "a cart", forced: true },
            table: "carts",
            columns: &["user_id"],
            field: "id",
        },
        Constraint {
            name: "orders_user_id_fkey",
            rule: ConstraintRule::Unused { by: "an order", forced: false },
            table: "orders",
            columns: &["user_id"],
            field: "id",
        },
        Constraint {
            name: "reviews_user_id_fkey",
            rule: ConstraintRule::Unused { by: "a review", forced: true },
            table: "reviews",
            columns: &["user_id"],
            field: "id",
        },
        Constraint {
            name: "posts_author_id_fkey",
            rule: ConstraintRule::Unused { by: "a post", forced: true },
            table: "posts",
            columns: &["author_id"],
            field: "id",
        },
    ];
    bookstore_query::columns_in_order!(bookstore_entity::user::Model {
        id,
        email,
        username,
        full_name,
        password_hash,
        is_active,
        role,
        avatar_url,
        bio,
        created_at,
        updated_at,
        version
    });
}

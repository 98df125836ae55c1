//! Table `users`: the accounts.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::{On, Table};

/// A row of `users`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    #[sea_orm(unique)]
    pub email: String,
    pub username: String,
    pub full_name: String,
    pub password_hash: String,
    pub is_active: bool,
    pub role: String,
    pub avatar_url: Option<String>,
    pub bio: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
    #[sea_orm(has_one)]
    pub cart: HasOne<super::cart::Entity>,
    #[sea_orm(has_many)]
    pub orders: HasMany<super::order::Entity>,
    #[sea_orm(has_many)]
    pub posts: HasMany<super::post::Entity>,
    #[sea_orm(has_many)]
    pub reviews: HasMany<super::review::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .default("is_active", "TRUE")
        .default("role", "'USER'")
        .check("email", r#"length("email") BETWEEN 3 AND 255 AND "email" = lower("email")"#)
        .check("username", r#"length("username") BETWEEN 1 AND 100"#)
        .check("full_name", r#"length("full_name") <= 255"#)
        .check("password_hash", r#"length("password_hash") > 0"#)
        .check("role", r#""role" IN ('USER', 'ADMIN')"#)
        .check("avatar_url", r#"length("avatar_url") <= 500"#)
        .check("bio", r#"length("bio") <= 1000"#)
        .index(&["email", "id"])
        .index(&["username", "id"])
        .index(&["full_name", "id"])
        .index(&["created_at", "id"])
        .index(&["is_active", "created_at DESC", "id DESC"])
        .index_as("user_words", Some(On::Postgres), r#"USING gin ("user_words"("full_name"))"#)
}

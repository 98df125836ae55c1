//! Table `users`: the accounts.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

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

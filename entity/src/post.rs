//! Table `posts`: the articles of users.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

/// A row of `posts`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "posts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub title: String,
    #[sea_orm(column_type = "Text")]
    pub content: String,
    pub author_id: Uuid,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
    #[sea_orm(belongs_to, from = "author_id", to = "id", on_delete = "Restrict")]
    pub author: HasOne<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

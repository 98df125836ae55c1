//! Table `posts`: the articles of users.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::Table;

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

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .check("title", r#"length("title") BETWEEN 1 AND 200"#)
        .check("content", r#"length("content") BETWEEN 1 AND 100000"#)
        .index(&["title", "id"])
        .index(&["created_at", "id"])
        .index(&["author_id", "created_at", "id"])
}

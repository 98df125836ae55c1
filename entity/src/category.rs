//! Table `categories`: the categories of books.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::Table;

/// A row of `categories`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "categories")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    #[sea_orm(unique)]
    pub name: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub description: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
    #[sea_orm(has_many)]
    pub books: HasMany<super::book::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .check("name", r#"length("name") BETWEEN 1 AND 255"#)
        .check("description", r#"length("description") <= 10000"#)
        .index(&["name", "id"])
        .index(&["created_at", "id"])
}

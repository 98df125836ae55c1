//! Table `reviews`: the ratings and comments of users on books.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::Table;

/// A row of `reviews`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "reviews")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub book_id: Uuid,
    pub rating: f64,
    #[sea_orm(column_type = "Text", nullable)]
    pub comment: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
    #[sea_orm(belongs_to, from = "user_id", to = "id", on_delete = "Restrict")]
    pub user: HasOne<super::user::Entity>,
    #[sea_orm(belongs_to, from = "book_id", to = "id", on_delete = "Cascade")]
    pub book: HasOne<super::book::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .unique(&["user_id", "book_id"])
        .check("rating", r#""rating" BETWEEN 1 AND 5"#)
        .check("comment", r#"length("comment") <= 10000"#)
        .index(&["rating", "id"])
        .index(&["created_at", "id"])
        .index(&["book_id", "created_at", "id"])
        .index(&["user_id", "created_at", "id"])
}

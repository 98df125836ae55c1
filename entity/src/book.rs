//! Table `books`: the books on sale.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::{On, Table};

/// A row of `books`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "books")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub title: String,
    pub author: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub description: Option<String>,
    pub price_micros: i64,
    pub currency_code: String,
    pub stock: i32,
    pub category_id: Option<Uuid>,
    pub cover_image: Option<String>,
    #[sea_orm(column_type = "JsonBinary")]
    pub attributes: Json,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
    #[sea_orm(belongs_to, from = "category_id", to = "id", on_delete = "SetNull")]
    pub category: HasOne<super::category::Entity>,
    #[sea_orm(has_many)]
    pub cart_items: HasMany<super::cart_item::Entity>,
    #[sea_orm(has_many)]
    pub order_items: HasMany<super::order_item::Entity>,
    #[sea_orm(has_many)]
    pub reviews: HasMany<super::review::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .default("stock", "0")
        .default("attributes", "'{}'")
        .generated_on_postgres("words", "tsvector", r#""book_words"("title", "author", "description")"#)
        .check("title", r#"length("title") BETWEEN 1 AND 255"#)
        .check("author", r#"length("author") BETWEEN 1 AND 255"#)
        .check("description", r#"length("description") <= 10000"#)
        .check("price_micros", r#""price_micros" BETWEEN 0 AND 10000000000000"#)
        .check("currency_code", r#"length("currency_code") = 3"#)
        .check("stock", r#""stock" BETWEEN 0 AND 2147483647"#)
        .check("cover_image", r#"length("cover_image") <= 500"#)
        .check(
            "attributes",
            r#"{json_type}("attributes") = 'object' AND length(CAST("attributes" AS text)) <= 524288"#,
        )
        .index(&["title", "id"])
        .index(&["author", "id"])
        .index(&["price_micros", "id"])
        .index(&["stock", "id"])
        .index(&["created_at", "id"])
        .index(&["category_id", "created_at", "id"])
        .index(&["title", "author"])
        .index(&["price_micros DESC", "stock", "id"])
        .index_as("attributes", Some(On::Postgres), r#"USING gin ("attributes" jsonb_path_ops)"#)
        .index_as("words", Some(On::Postgres), r#"USING gin ("words")"#)
}

//! Table `books`: the books on sale.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

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

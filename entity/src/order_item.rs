//! Table `order_items`: the books of an order, with their prices at the time of the order.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

/// A row of `order_items`. Its price is in the order's currency.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "order_items")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub order_id: Uuid,
    pub book_id: Uuid,
    pub quantity: i32,
    pub price_micros: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
    #[sea_orm(belongs_to, from = "order_id", to = "id", on_delete = "Cascade")]
    pub order: HasOne<super::order::Entity>,
    #[sea_orm(belongs_to, from = "book_id", to = "id", on_delete = "Restrict")]
    pub book: HasOne<super::book::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

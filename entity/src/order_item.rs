//! Table `order_items`: the books of an order, with their prices at the time of the order.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::Table;

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

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .check("quantity", r#""quantity" BETWEEN 1 AND 1000"#)
        .check("price_micros", r#""price_micros" BETWEEN 0 AND 10000000000000"#)
        .index(&["order_id"])
        .index(&["book_id", "order_id"])
}

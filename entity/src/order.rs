//! Table `orders`: the orders of users, with their status.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::Table;

/// A row of `orders`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub status: String,
    pub total_micros: i64,
    pub currency_code: String,
    pub shipping_address: String,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
    #[sea_orm(belongs_to, from = "user_id", to = "id", on_delete = "Restrict")]
    pub user: HasOne<super::user::Entity>,
    #[sea_orm(has_many)]
    pub items: HasMany<super::order_item::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .default("status", "'PENDING'")
        .check(
            "status",
            r#""status" IN ('PENDING', 'CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED')"#,
        )
        .check("total_micros", r#""total_micros" BETWEEN 0 AND 1000000000000000000"#)
        .check("currency_code", r#"length("currency_code") = 3"#)
        .check("shipping_address", r#"length("shipping_address") <= 500"#)
        .index(&["created_at", "id"])
        .index(&["total_micros", "id"])
        .index(&["created_at DESC", "total_micros", "id"])
        .index(&["status", "created_at", "id"])
        .index(&["user_id", "created_at", "id"])
        .index(&["user_id", "status"])
}

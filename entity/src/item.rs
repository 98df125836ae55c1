//! Table `items`: merchandise other than books.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::{On, Table};

/// A row of `items`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "items")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub status: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub payload: Json,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub version: i64,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .default("payload", "'{}'")
        .check("name", r#"length("name") BETWEEN 1 AND 200"#)
        .check("status", r#"length("status") BETWEEN 1 AND 50"#)
        .check(
            "payload",
            r#"{json_type}("payload") = 'object' AND length(CAST("payload" AS text)) <= 524288"#,
        )
        .index(&["name", "id"])
        .index(&["status", "id"])
        .index(&["created_at", "id"])
        .index(&["status", "created_at", "id"])
        .index_as("payload", Some(On::Postgres), r#"USING gin ("payload" jsonb_path_ops)"#)
}

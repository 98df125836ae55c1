//! Table `idempotency_keys`: the writes that have happened under callers' keys, and their answers.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::Table;

/// A row of `idempotency_keys`. Only the store reads and writes the table.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub principal: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: Uuid,
    pub method: String,
    pub request_mark: Option<Vec<u8>>,
    pub answer: Option<Vec<u8>>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>()
        .stamped()
        .check("answer", r#"("request_mark" IS NULL) = ("answer" IS NULL)"#)
        .index(&["created_at"])
}

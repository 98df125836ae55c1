//! Table `sealing_keys`: the one random key that seals page tokens.

#![expect(missing_docs, reason = "the derive makes public items that can't be documented")]

use sea_orm::entity::prelude::*;

use crate::schema::Table;

/// The row of `sealing_keys`; its id is always 1.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sealing_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i16,
    /// 32 random bytes.
    pub key: Vec<u8>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The declared table: the entity and what SeaORM can't express.
pub fn table() -> Table {
    Table::of::<Entity>().check("id", r#""id" = 1"#).check("key", r#"length("key") = 32"#)
}

//! The random key that seals page tokens: one row, made here, the same for every instance.

use sea_orm_migration::prelude::*;

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run(
            manager,
            r#"
            CREATE TABLE "sealing_keys" (
                "id" smallint NOT NULL,
                "key" {bytes} NOT NULL,
                CONSTRAINT "sealing_keys_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "sealing_keys_id_check" CHECK ("id" = 1),
                CONSTRAINT "sealing_keys_key_check" CHECK (length("key") = 32)
            );
            INSERT INTO "sealing_keys" ("id", "key") VALUES (1, {random_32_bytes});
            "#,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run(manager, r#"DROP TABLE "sealing_keys""#).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

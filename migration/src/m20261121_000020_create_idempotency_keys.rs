//! The keys under which writes happen once, each with the answer of its write. A key without
//! an answer is fenced off: its write must not happen any more.

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
            CREATE TABLE "idempotency_keys" (
                "principal" {text} NOT NULL,
                "key" {uuid} NOT NULL,
                "method" {text} NOT NULL,
                "request_mark" {bytes},
                "answer" {bytes},
                "created_at" {time} NOT NULL DEFAULT {now},
                CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("principal", "key"),
                CONSTRAINT "idempotency_keys_answer_check" CHECK (("request_mark" IS NULL) = ("answer" IS NULL))
            );
            CREATE INDEX "idempotency_keys_created_at_idx" ON "idempotency_keys" ("created_at");
            "#,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run(manager, r#"DROP TABLE "idempotency_keys""#).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

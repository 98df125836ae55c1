//! The table of posts, with an index for every order that a list may have.

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
            CREATE TABLE "posts" (
                "id" {uuid} NOT NULL,
                "title" {text} NOT NULL,
                "content" {text} NOT NULL,
                "author_id" {uuid} NOT NULL,
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "posts_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "posts_author_id_fkey" FOREIGN KEY ("author_id")
                    REFERENCES "users" ("id") ON DELETE RESTRICT,
                CONSTRAINT "posts_title_check" CHECK (length("title") BETWEEN 1 AND 200),
                CONSTRAINT "posts_content_check" CHECK (length("content") BETWEEN 1 AND 100000)
            );
            CREATE INDEX "posts_title_id_idx" ON "posts" ("title", "id");
            CREATE INDEX "posts_created_at_id_idx" ON "posts" ("created_at", "id");
            CREATE INDEX "posts_author_id_created_at_id_idx" ON "posts" ("author_id", "created_at", "id");
            "#,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run(manager, r#"DROP TABLE "posts""#).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

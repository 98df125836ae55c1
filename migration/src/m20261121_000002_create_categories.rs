//! The table of categories and the five that are there from the start.

use sea_orm_migration::{prelude::*, sea_orm::prelude::Uuid};

use crate::sql;

/// The first categories. Their ids are fixed, so that programs and examples may name them.
const SEEDED: [(u128, &str); 5] = [
    (0x0193_0000_0000_7000_8000_0000_0000_0001, "Fiction"),
    (0x0193_0000_0000_7000_8000_0000_0000_0002, "Non-Fiction"),
    (0x0193_0000_0000_7000_8000_0000_0000_0003, "Science"),
    (0x0193_0000_0000_7000_8000_0000_0000_0004, "History"),
    (0x0193_0000_0000_7000_8000_0000_0000_0005, "Technology"),
];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run(
            manager,
            r#"
            CREATE TABLE "categories" (
                "id" {uuid} NOT NULL,
                "name" {text} NOT NULL,
                "description" {text},
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "categories_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "categories_name_key" UNIQUE ("name"),
                CONSTRAINT "categories_name_check" CHECK (length("name") BETWEEN 1 AND 255),
                CONSTRAINT "categories_description_check" CHECK (length("description") <= 10000)
            );
            CREATE INDEX "categories_name_id_idx" ON "categories" ("name", "id");
            CREATE INDEX "categories_created_at_id_idx" ON "categories" ("created_at", "id");
            "#,
        )
        .await?;
        let mut seed = Query::insert();
        seed.into_table("categories").columns(["id", "name"]);
        for (id, name) in SEEDED {
            seed.values_panic([Uuid::from_u128(id).into(), name.into()]);
        }
        manager.execute(seed).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        sql::run(manager, r#"DROP TABLE "categories""#).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

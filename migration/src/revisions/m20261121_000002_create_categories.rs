//! The table of categories and the five that are there from the start.

use crate::revision::{Revision, postgres, sql, sqlite};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000002_create_categories", "create categories, with the first five")
        .after("m20261121_000001_create_sealing_keys")
        .up([
            sql(r#"
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
            "#),
            // Their ids are fixed, so that programs and examples may name them.
            postgres(
                r#"
                INSERT INTO "categories" ("id", "name") VALUES
                    ('01930000-0000-7000-8000-000000000001', 'Fiction'),
                    ('01930000-0000-7000-8000-000000000002', 'Non-Fiction'),
                    ('01930000-0000-7000-8000-000000000003', 'Science'),
                    ('01930000-0000-7000-8000-000000000004', 'History'),
                    ('01930000-0000-7000-8000-000000000005', 'Technology')
                "#,
            ),
            sqlite(
                r#"
                INSERT INTO "categories" ("id", "name") VALUES
                    (X'01930000000070008000000000000001', 'Fiction'),
                    (X'01930000000070008000000000000002', 'Non-Fiction'),
                    (X'01930000000070008000000000000003', 'Science'),
                    (X'01930000000070008000000000000004', 'History'),
                    (X'01930000000070008000000000000005', 'Technology')
                "#,
            ),
        ])
        .down([sql(r#"DROP TABLE "categories""#)])
}

//! The table of items, with an index for every order that a list may have.

use crate::revision::{Revision, postgres, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000004_create_items", "create items")
        .after("m20261121_000003_create_books")
        .up([
            sql(
                r#"
            CREATE TABLE "items" (
                "id" {uuid} NOT NULL,
                "name" {text} NOT NULL,
                "status" {text} NOT NULL,
                "payload" {json} NOT NULL DEFAULT '{}',
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "items_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "items_name_check" CHECK (length("name") BETWEEN 1 AND 200),
                CONSTRAINT "items_status_check" CHECK (length("status") BETWEEN 1 AND 50),
                CONSTRAINT "items_payload_check" CHECK (
                    {json_type}("payload") = 'object'
                    AND length(CAST("payload" AS text)) <= 524288
                )
            );
            CREATE INDEX "items_name_id_idx" ON "items" ("name", "id");
            CREATE INDEX "items_status_id_idx" ON "items" ("status", "id");
            CREATE INDEX "items_created_at_id_idx" ON "items" ("created_at", "id");
            CREATE INDEX "items_status_created_at_id_idx" ON "items" ("status", "created_at", "id");
            "#,
            ),
            // Serves `payload.colour = "red"`; SQLite has no index of this kind.
            postgres(r#"CREATE INDEX "items_payload_idx" ON "items" USING gin ("payload" jsonb_path_ops)"#),
        ])
        .down([
            sql(r#"DROP TABLE "items""#),
        ])
}

//! The table of books, with an index for every order that a list may have.

use crate::revision::{Revision, postgres, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000003_create_books", "create books")
        .after("m20261121_000002_create_categories")
        .up([
            sql(
                r#"
            CREATE TABLE "books" (
                "id" {uuid} NOT NULL,
                "title" {text} NOT NULL,
                "author" {text} NOT NULL,
                "description" {text},
                "price_micros" bigint NOT NULL,
                "currency_code" {text} NOT NULL,
                "stock" integer NOT NULL DEFAULT 0,
                "category_id" {uuid},
                "cover_image" {text},
                "attributes" {json} NOT NULL DEFAULT '{}',
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "books_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "books_category_id_fkey" FOREIGN KEY ("category_id")
                    REFERENCES "categories" ("id") ON DELETE SET NULL,
                CONSTRAINT "books_title_check" CHECK (length("title") BETWEEN 1 AND 255),
                CONSTRAINT "books_author_check" CHECK (length("author") BETWEEN 1 AND 255),
                CONSTRAINT "books_description_check" CHECK (length("description") <= 10000),
                CONSTRAINT "books_price_micros_check" CHECK ("price_micros" BETWEEN 0 AND 10000000000000),
                CONSTRAINT "books_currency_code_check" CHECK (length("currency_code") = 3),
                CONSTRAINT "books_stock_check" CHECK ("stock" BETWEEN 0 AND 2147483647),
                CONSTRAINT "books_cover_image_check" CHECK (length("cover_image") <= 500),
                CONSTRAINT "books_attributes_check" CHECK (
                    {json_type}("attributes") = 'object'
                    AND length(CAST("attributes" AS text)) <= 524288
                )
            );
            CREATE INDEX "books_title_id_idx" ON "books" ("title", "id");
            CREATE INDEX "books_author_id_idx" ON "books" ("author", "id");
            CREATE INDEX "books_price_micros_id_idx" ON "books" ("price_micros", "id");
            CREATE INDEX "books_stock_id_idx" ON "books" ("stock", "id");
            CREATE INDEX "books_created_at_id_idx" ON "books" ("created_at", "id");
            CREATE INDEX "books_category_id_created_at_id_idx" ON "books" ("category_id", "created_at", "id");
            CREATE INDEX "books_title_author_idx" ON "books" ("title", "author");
            CREATE INDEX "books_price_micros_stock_id_idx" ON "books" ("price_micros" DESC, "stock", "id");
            "#,
            ),
            // Serves `attributes.language = "eng"`; SQLite has no index of this kind.
            postgres(r#"CREATE INDEX "books_attributes_idx" ON "books" USING gin ("attributes" jsonb_path_ops)"#),
        ])
        .down([
            sql(r#"DROP TABLE "books""#),
        ])
}

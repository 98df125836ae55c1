//! The tables of carts and of the books in them.

use crate::revision::{Revision, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000008_create_carts", "create carts")
        .after("m20261121_000007_create_reviews")
        .up([sql(r#"
            CREATE TABLE "carts" (
                "id" {uuid} NOT NULL,
                "user_id" {uuid} NOT NULL,
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "carts_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "carts_user_id_key" UNIQUE ("user_id"),
                CONSTRAINT "carts_user_id_fkey" FOREIGN KEY ("user_id")
                    REFERENCES "users" ("id") ON DELETE RESTRICT
            );
            CREATE TABLE "cart_items" (
                "id" {uuid} NOT NULL,
                "cart_id" {uuid} NOT NULL,
                "book_id" {uuid} NOT NULL,
                "quantity" integer NOT NULL,
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "cart_items_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "cart_items_cart_id_book_id_key" UNIQUE ("cart_id", "book_id"),
                CONSTRAINT "cart_items_cart_id_fkey" FOREIGN KEY ("cart_id")
                    REFERENCES "carts" ("id") ON DELETE CASCADE,
                CONSTRAINT "cart_items_book_id_fkey" FOREIGN KEY ("book_id")
                    REFERENCES "books" ("id") ON DELETE CASCADE,
                CONSTRAINT "cart_items_quantity_check" CHECK ("quantity" BETWEEN 1 AND 1000)
            );
            CREATE INDEX "cart_items_book_id_idx" ON "cart_items" ("book_id");
            "#)])
        .down([sql(r#"DROP TABLE "cart_items"; DROP TABLE "carts""#)])
}

//! The tables of orders and of the books in them, with an index for every order of a list.

use crate::revision::{Revision, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000009_create_orders", "create orders")
        .after("m20261121_000008_create_carts")
        .up([
            sql(
                r#"
            CREATE TABLE "orders" (
                "id" {uuid} NOT NULL,
                "user_id" {uuid} NOT NULL,
                "status" {text} NOT NULL DEFAULT 'PENDING',
                "total_micros" bigint NOT NULL,
                "currency_code" {text} NOT NULL,
                "shipping_address" {text} NOT NULL,
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "orders_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "orders_user_id_fkey" FOREIGN KEY ("user_id")
                    REFERENCES "users" ("id") ON DELETE RESTRICT,
                CONSTRAINT "orders_status_check" CHECK (
                    "status" IN ('PENDING', 'CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED')
                ),
                CONSTRAINT "orders_total_micros_check" CHECK ("total_micros" BETWEEN 0 AND 1000000000000000000),
                CONSTRAINT "orders_currency_code_check" CHECK (length("currency_code") = 3),
                CONSTRAINT "orders_shipping_address_check" CHECK (length("shipping_address") BETWEEN 1 AND 500)
            );
            CREATE INDEX "orders_created_at_id_idx" ON "orders" ("created_at", "id");
            CREATE INDEX "orders_total_micros_id_idx" ON "orders" ("total_micros", "id");
            CREATE INDEX "orders_created_at_total_micros_id_idx" ON "orders" ("created_at" DESC, "total_micros", "id");
            CREATE INDEX "orders_status_created_at_id_idx" ON "orders" ("status", "created_at", "id");
            CREATE INDEX "orders_user_id_created_at_id_idx" ON "orders" ("user_id", "created_at", "id");
            CREATE INDEX "orders_user_id_status_idx" ON "orders" ("user_id", "status");
            CREATE TABLE "order_items" (
                "id" {uuid} NOT NULL,
                "order_id" {uuid} NOT NULL,
                "book_id" {uuid} NOT NULL,
                "quantity" integer NOT NULL,
                "price_micros" bigint NOT NULL,
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "order_items_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "order_items_order_id_fkey" FOREIGN KEY ("order_id")
                    REFERENCES "orders" ("id") ON DELETE CASCADE,
                CONSTRAINT "order_items_book_id_fkey" FOREIGN KEY ("book_id")
                    REFERENCES "books" ("id") ON DELETE RESTRICT,
                CONSTRAINT "order_items_quantity_check" CHECK ("quantity" BETWEEN 1 AND 1000),
                CONSTRAINT "order_items_price_micros_check" CHECK ("price_micros" BETWEEN 0 AND 10000000000000)
            );
            CREATE INDEX "order_items_order_id_idx" ON "order_items" ("order_id");
            CREATE INDEX "order_items_book_id_idx" ON "order_items" ("book_id");
            "#,
            ),
        ])
        .down([
            sql(r#"DROP TABLE "order_items"; DROP TABLE "orders""#),
        ])
}

//! Indexes for the lists of the orders and of the carts that hold a book, and for the list of carts.
//! The two that begin with the book replace those of the book alone.

use crate::revision::{Revision, postgres, sqlite};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261127_000010_index_items_by_book", "index orders and carts by book")
        .after("m20261127_000001_grant_tables_by_name")
        .up([
            postgres(r#"CREATE INDEX CONCURRENTLY "order_items_book_id_order_id_idx" ON "order_items" ("book_id", "order_id")"#)
                .outside_transaction(),
            sqlite(r#"CREATE INDEX "order_items_book_id_order_id_idx" ON "order_items" ("book_id", "order_id")"#),
            postgres(r#"CREATE INDEX CONCURRENTLY "cart_items_book_id_cart_id_idx" ON "cart_items" ("book_id", "cart_id")"#)
                .outside_transaction(),
            sqlite(r#"CREATE INDEX "cart_items_book_id_cart_id_idx" ON "cart_items" ("book_id", "cart_id")"#),
            postgres(r#"CREATE INDEX CONCURRENTLY "carts_created_at_id_idx" ON "carts" ("created_at", "id")"#)
                .outside_transaction(),
            sqlite(r#"CREATE INDEX "carts_created_at_id_idx" ON "carts" ("created_at", "id")"#),
            postgres(r#"DROP INDEX CONCURRENTLY "order_items_book_id_idx""#).outside_transaction(),
            sqlite(r#"DROP INDEX "order_items_book_id_idx""#),
            postgres(r#"DROP INDEX CONCURRENTLY "cart_items_book_id_idx""#).outside_transaction(),
            sqlite(r#"DROP INDEX "cart_items_book_id_idx""#),
        ])
        .down([
            postgres(r#"CREATE INDEX CONCURRENTLY "cart_items_book_id_idx" ON "cart_items" ("book_id")"#)
                .outside_transaction(),
            sqlite(r#"CREATE INDEX "cart_items_book_id_idx" ON "cart_items" ("book_id")"#),
            postgres(r#"CREATE INDEX CONCURRENTLY "order_items_book_id_idx" ON "order_items" ("book_id")"#)
                .outside_transaction(),
            sqlite(r#"CREATE INDEX "order_items_book_id_idx" ON "order_items" ("book_id")"#),
            postgres(r#"DROP INDEX CONCURRENTLY "carts_created_at_id_idx""#).outside_transaction(),
            sqlite(r#"DROP INDEX "carts_created_at_id_idx""#),
            postgres(r#"DROP INDEX CONCURRENTLY "cart_items_book_id_cart_id_idx""#).outside_transaction(),
            sqlite(r#"DROP INDEX "cart_items_book_id_cart_id_idx""#),
            postgres(r#"DROP INDEX CONCURRENTLY "order_items_book_id_order_id_idx""#).outside_transaction(),
            sqlite(r#"DROP INDEX "order_items_book_id_order_id_idx""#),
        ])
}

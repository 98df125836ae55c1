//! The table of reviews, with an index for every order that a list may have.

use crate::revision::{Revision, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000007_create_reviews", "create reviews")
        .after("m20261121_000006_create_posts")
        .up([
            sql(
                r#"
            CREATE TABLE "reviews" (
                "id" {uuid} NOT NULL,
                "user_id" {uuid} NOT NULL,
                "book_id" {uuid} NOT NULL,
                "rating" {double} NOT NULL,
                "comment" {text},
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "reviews_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "reviews_user_id_book_id_key" UNIQUE ("user_id", "book_id"),
                CONSTRAINT "reviews_user_id_fkey" FOREIGN KEY ("user_id")
                    REFERENCES "users" ("id") ON DELETE RESTRICT,
                CONSTRAINT "reviews_book_id_fkey" FOREIGN KEY ("book_id")
                    REFERENCES "books" ("id") ON DELETE CASCADE,
                CONSTRAINT "reviews_rating_check" CHECK ("rating" BETWEEN 1 AND 5),
                CONSTRAINT "reviews_comment_check" CHECK (length("comment") <= 10000)
            );
            CREATE INDEX "reviews_rating_id_idx" ON "reviews" ("rating", "id");
            CREATE INDEX "reviews_created_at_id_idx" ON "reviews" ("created_at", "id");
            CREATE INDEX "reviews_book_id_created_at_id_idx" ON "reviews" ("book_id", "created_at", "id");
            CREATE INDEX "reviews_user_id_created_at_id_idx" ON "reviews" ("user_id", "created_at", "id");
            "#,
            ),
        ])
        .down([
            sql(r#"DROP TABLE "reviews""#),
        ])
}

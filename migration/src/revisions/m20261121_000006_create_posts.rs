//! The table of posts, with an index for every order that a list may have.

use crate::revision::{Revision, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000006_create_posts", "create posts")
        .after("m20261121_000005_create_users")
        .up([
            sql(
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
            ),
        ])
        .down([
            sql(r#"DROP TABLE "posts""#),
        ])
}

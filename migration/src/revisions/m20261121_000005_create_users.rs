//! The table of users, with an index for every order that a list may have.

use crate::revision::{Revision, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000005_create_users", "create users")
        .after("m20261121_000004_create_items")
        .up([
            // The service stores emails in lower case; the check knows ASCII's letters only, as
            // both engines do in this collation. Hashes are never empty.
            sql(
                r#"
            CREATE TABLE "users" (
                "id" {uuid} NOT NULL,
                "email" {text} NOT NULL,
                "username" {text} NOT NULL,
                "full_name" {text} NOT NULL,
                "password_hash" {text} NOT NULL,
                "is_active" boolean NOT NULL DEFAULT TRUE,
                "role" {text} NOT NULL DEFAULT 'USER',
                "avatar_url" {text},
                "bio" {text},
                "created_at" {time} NOT NULL DEFAULT {now},
                "updated_at" {time} NOT NULL DEFAULT {now},
                "version" bigint NOT NULL DEFAULT 1,
                CONSTRAINT "users_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "users_email_key" UNIQUE ("email"),
                CONSTRAINT "users_email_check" CHECK (length("email") BETWEEN 3 AND 255 AND "email" = lower("email")),
                CONSTRAINT "users_username_check" CHECK (length("username") BETWEEN 1 AND 100),
                CONSTRAINT "users_full_name_check" CHECK (length("full_name") BETWEEN 1 AND 255),
                CONSTRAINT "users_password_hash_check" CHECK (length("password_hash") > 0),
                CONSTRAINT "users_role_check" CHECK ("role" IN ('USER', 'ADMIN')),
                CONSTRAINT "users_avatar_url_check" CHECK (length("avatar_url") <= 500),
                CONSTRAINT "users_bio_check" CHECK (length("bio") <= 1000)
            );
            CREATE INDEX "users_email_id_idx" ON "users" ("email", "id");
            CREATE INDEX "users_username_id_idx" ON "users" ("username", "id");
            CREATE INDEX "users_full_name_id_idx" ON "users" ("full_name", "id");
            CREATE INDEX "users_created_at_id_idx" ON "users" ("created_at", "id");
            CREATE INDEX "users_is_active_created_at_id_idx" ON "users" ("is_active", "created_at" DESC, "id" DESC);
            "#,
            ),
        ])
        .down([
            sql(r#"DROP TABLE "users""#),
        ])
}

//! Grants each table by its name, and no table by default: default privileges gave every new table
//! to the service and to the reader, with keys and hashes of passwords. A later revision that creates
//! a table grants it.
//!
//! It does what `bookstore migrate roles` prints, as far as the owner may. SQLite has no roles.

use crate::revision::{Revision, postgres};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261127_000001_grant_tables_by_name", "grant tables by name")
        .after("m20261125_000001_create_timeline_history")
        .up([postgres(UP)])
        // The privileges of before are not restored: they were too many.
        .down([postgres("SELECT 1")])
}

/// Nothing where the roles don't exist. Default privileges are the owner's, in the schema that the
/// migrations work in.
const UP: &str = r#"
    DO $$
    DECLARE
        grantee text;
        bookkeeping text;
    BEGIN
        FOREACH grantee IN ARRAY ARRAY['bookstore_app', 'bookstore_reader'] LOOP
            CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = grantee);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE ALL ON TABLES FROM %I',
                current_schema(), grantee);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE ALL ON SEQUENCES FROM %I',
                current_schema(), grantee);
            EXECUTE format('REVOKE ALL ON "sealing_keys", "categories", "books", "items", "users",
                "posts", "reviews", "carts", "cart_items", "orders", "order_items",
                "idempotency_keys" FROM %I', grantee);
            FOREACH bookkeeping IN ARRAY ARRAY['seaql_migrations', 'bookstore_migrations',
                'bookstore_migration_steps', 'bookstore_migration_lock'] LOOP
                -- They aren't there where the revisions are only tried.
                CONTINUE WHEN to_regclass(quote_ident(bookkeeping)) IS NULL;
                EXECUTE format('REVOKE ALL ON %I FROM %I', bookkeeping, grantee);
                EXECUTE format('GRANT SELECT ON %I TO %I', bookkeeping, grantee);
            END LOOP;
        END LOOP;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bookstore_app') THEN
            GRANT SELECT ON "sealing_keys" TO "bookstore_app";
            GRANT SELECT, INSERT, UPDATE, DELETE ON "categories", "books", "items", "users", "posts",
                "reviews", "carts", "cart_items", "orders", "order_items", "idempotency_keys"
                TO "bookstore_app";
            REVOKE ALL ON FUNCTION "bookstore_timeline_history" (bigint) FROM PUBLIC;
            GRANT EXECUTE ON FUNCTION "bookstore_timeline_history" (bigint) TO "bookstore_app";
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bookstore_reader') THEN
            GRANT SELECT ON "categories", "books", "items", "posts", "reviews", "carts",
                "cart_items", "orders", "order_items" TO "bookstore_reader";
            GRANT SELECT ("id", "email", "username", "full_name", "is_active", "role", "avatar_url", "bio", "created_at", "updated_at", "version")
                ON "users" TO "bookstore_reader";
        END IF;
    END
    $$
    "#;

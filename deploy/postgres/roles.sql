-- The roles and privileges of the bookstore in one PostgreSQL database, as `bookstore migrate roles`
-- prints them.
--
-- Run it in the service's own database as a superuser, before the first migration:
--
--   createdb bookstore && psql -d bookstore -f roles.sql
--
-- It can be run again at any time and then changes nothing. The roles may log in but have no
-- password, so a server that asks for one admits none of them until the operator has set it:
-- ALTER ROLE bookstore_app PASSWORD '...'.

BEGIN;
SET LOCAL search_path = public;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['bookstore_owner', 'bookstore_app', 'bookstore_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', wanted);
        END IF;
    END LOOP;
END
$$;

-- bookstore_owner owns the database and its schema. Migrations run as this role, the service does
-- not. No other role makes tables. The timeouts are a net for what uses the role of the service
-- beside it: the service sets its own.
DO $$
DECLARE
    net text;
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO bookstore_owner', current_database());
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO bookstore_app, bookstore_reader', current_database());
    FOREACH net IN ARRAY ARRAY['statement_timeout', 'lock_timeout',
                               'idle_in_transaction_session_timeout'] LOOP
        EXECUTE format('ALTER ROLE bookstore_app IN DATABASE %I SET %I = %L',
                       current_database(), net, '1min');
    END LOOP;
END
$$;
ALTER SCHEMA public OWNER TO bookstore_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO bookstore_app, bookstore_reader;

-- No role has privileges on new tables by default: the migration that makes a table grants it.
ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
    REVOKE ALL ON TABLES FROM bookstore_app, bookstore_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
    REVOKE ALL ON SEQUENCES FROM bookstore_app, bookstore_reader;

-- The service reads the state of replication, to tell a primary from a replica and to know how far
-- a replica lags. A plain role would see no row of it.
GRANT pg_monitor TO bookstore_app, bookstore_reader;

-- A function of the owner reads where the histories of a failover parted, so that a token from
-- before one can be verified: files of the data directory, and nothing outside it.
GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) TO bookstore_owner;

-- bookstore_app is the service: it reads and writes rows, and changes neither tables nor the keys
-- that seal tokens nor the list of migrations. bookstore_reader only reads, for people and reports:
-- no key, no kept answer, no hash of a password. Tables that are not there yet are granted by the
-- migrations.
DO $$
BEGIN
    IF to_regclass('public.sealing_keys') IS NOT NULL THEN
        REVOKE ALL ON "sealing_keys" FROM bookstore_app, bookstore_reader;
        GRANT SELECT ON "sealing_keys" TO bookstore_app;
    END IF;
    IF to_regclass('public.categories') IS NOT NULL THEN
        REVOKE ALL ON "categories" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "categories" TO bookstore_app;
        GRANT SELECT ON "categories" TO bookstore_reader;
    END IF;
    IF to_regclass('public.books') IS NOT NULL THEN
        REVOKE ALL ON "books" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "books" TO bookstore_app;
        GRANT SELECT ON "books" TO bookstore_reader;
    END IF;
    IF to_regclass('public.items') IS NOT NULL THEN
        REVOKE ALL ON "items" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "items" TO bookstore_app;
        GRANT SELECT ON "items" TO bookstore_reader;
    END IF;
    IF to_regclass('public.users') IS NOT NULL THEN
        REVOKE ALL ON "users" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "users" TO bookstore_app;
        GRANT SELECT ("id", "email", "username", "full_name", "is_active", "role", "avatar_url", "bio", "created_at", "updated_at", "version") ON "users" TO bookstore_reader;
    END IF;
    IF to_regclass('public.posts') IS NOT NULL THEN
        REVOKE ALL ON "posts" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "posts" TO bookstore_app;
        GRANT SELECT ON "posts" TO bookstore_reader;
    END IF;
    IF to_regclass('public.reviews') IS NOT NULL THEN
        REVOKE ALL ON "reviews" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "reviews" TO bookstore_app;
        GRANT SELECT ON "reviews" TO bookstore_reader;
    END IF;
    IF to_regclass('public.carts') IS NOT NULL THEN
        REVOKE ALL ON "carts" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "carts" TO bookstore_app;
        GRANT SELECT ON "carts" TO bookstore_reader;
    END IF;
    IF to_regclass('public.cart_items') IS NOT NULL THEN
        REVOKE ALL ON "cart_items" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "cart_items" TO bookstore_app;
        GRANT SELECT ON "cart_items" TO bookstore_reader;
    END IF;
    IF to_regclass('public.orders') IS NOT NULL THEN
        REVOKE ALL ON "orders" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "orders" TO bookstore_app;
        GRANT SELECT ON "orders" TO bookstore_reader;
    END IF;
    IF to_regclass('public.order_items') IS NOT NULL THEN
        REVOKE ALL ON "order_items" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "order_items" TO bookstore_app;
        GRANT SELECT ON "order_items" TO bookstore_reader;
    END IF;
    IF to_regclass('public.idempotency_keys') IS NOT NULL THEN
        REVOKE ALL ON "idempotency_keys" FROM bookstore_app, bookstore_reader;
        GRANT SELECT, INSERT, UPDATE, DELETE ON "idempotency_keys" TO bookstore_app;
    END IF;
    IF to_regclass('public.seaql_migrations') IS NOT NULL THEN
        REVOKE ALL ON "seaql_migrations" FROM bookstore_app, bookstore_reader;
        GRANT SELECT ON "seaql_migrations" TO bookstore_app;
        GRANT SELECT ON "seaql_migrations" TO bookstore_reader;
    END IF;
    IF to_regclass('public.bookstore_migrations') IS NOT NULL THEN
        REVOKE ALL ON "bookstore_migrations" FROM bookstore_app, bookstore_reader;
        GRANT SELECT ON "bookstore_migrations" TO bookstore_app;
        GRANT SELECT ON "bookstore_migrations" TO bookstore_reader;
    END IF;
    IF to_regclass('public.bookstore_migration_steps') IS NOT NULL THEN
        REVOKE ALL ON "bookstore_migration_steps" FROM bookstore_app, bookstore_reader;
        GRANT SELECT ON "bookstore_migration_steps" TO bookstore_app;
        GRANT SELECT ON "bookstore_migration_steps" TO bookstore_reader;
    END IF;
    IF to_regclass('public.bookstore_migration_lock') IS NOT NULL THEN
        REVOKE ALL ON "bookstore_migration_lock" FROM bookstore_app, bookstore_reader;
        GRANT SELECT ON "bookstore_migration_lock" TO bookstore_app;
        GRANT SELECT ON "bookstore_migration_lock" TO bookstore_reader;
    END IF;
    IF to_regprocedure('public.bookstore_timeline_history(bigint)') IS NOT NULL THEN
        REVOKE ALL ON FUNCTION bookstore_timeline_history(bigint) FROM PUBLIC, bookstore_reader;
        GRANT EXECUTE ON FUNCTION bookstore_timeline_history(bigint) TO bookstore_app;
    END IF;
END
$$;

COMMIT;

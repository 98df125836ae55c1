-- The roles and rights of the bookstore in one PostgreSQL database.
--
-- Run it in the service's own database as a superuser, before the first migration:
--
--   createdb bookstore && psql -d bookstore -f roles.sql
--
-- It can be run again at any time and then changes nothing. The roles may log in
-- but have no password, so a server that asks for one lets none of them in until
-- the operator has set it: ALTER ROLE bookstore_app PASSWORD '...'.

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

-- bookstore_owner owns the database and its schema: migrations run as this role, the
-- service doesn't. Nobody else gets in or makes tables.
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO bookstore_owner', current_database());
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO bookstore_app, bookstore_reader', current_database());
END
$$;
ALTER SCHEMA public OWNER TO bookstore_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- bookstore_app is the service: it reads and writes rows and can change no table.
-- bookstore_reader only reads, for replicas and for people who look.
GRANT USAGE ON SCHEMA public TO bookstore_app, bookstore_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bookstore_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO bookstore_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO bookstore_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO bookstore_app;
ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO bookstore_app;
ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
    GRANT SELECT ON TABLES TO bookstore_reader;

-- The service looks at replication to tell a primary from a replica and to know how
-- far a replica lags; a plain role would see no row of it.
GRANT pg_monitor TO bookstore_app, bookstore_reader;

-- The owner's function that reads where the histories of a failover parted, so that a token
-- from before one can be verified: files of the data directory, and nothing outside it.
GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) TO bookstore_owner;

-- What must not leave the service stays with it: bookstore_reader sees no key that seals
-- tokens, no kept answer and no hash of a password; bookstore_app neither changes the keys nor
-- the list of migrations. Tables that are not there yet get the same with the first run of
-- this file after the migrations; run it then once more.
DO $$
DECLARE
    columns text;
BEGIN
    IF to_regclass('public.sealing_keys') IS NOT NULL THEN
        REVOKE ALL ON sealing_keys FROM bookstore_reader;
        REVOKE INSERT, UPDATE, DELETE ON sealing_keys FROM bookstore_app;
    END IF;
    IF to_regclass('public.idempotency_keys') IS NOT NULL THEN
        REVOKE ALL ON idempotency_keys FROM bookstore_reader;
    END IF;
    IF to_regclass('public.seaql_migrations') IS NOT NULL THEN
        REVOKE INSERT, UPDATE, DELETE ON seaql_migrations FROM bookstore_app;
    END IF;
    IF to_regclass('public.users') IS NOT NULL THEN
        REVOKE ALL ON users FROM bookstore_reader;
        SELECT string_agg(quote_ident(column_name), ', ') INTO columns
            FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name = 'users' AND column_name <> 'password_hash';
        EXECUTE format('GRANT SELECT (%s) ON users TO bookstore_reader', columns);
    END IF;
END
$$;

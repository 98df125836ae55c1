-- What replicas need of a primary: a role that streams, the right to come in, and what it keeps for
-- them. For compose.yml; the password stands in the secret, the choice in the environment.

\set password `cat /run/secrets/replication`
\set names ''
\getenv names SYNCHRONOUS_STANDBY_NAMES
-- Rights to functions belong to a database: pg_rewind looks into this one.
\connect postgres
CREATE ROLE bookstore_replication LOGIN REPLICATION PASSWORD :'password';
GRANT EXECUTE ON FUNCTION
    pg_ls_dir(text, boolean, boolean),
    pg_stat_file(text, boolean),
    pg_read_binary_file(text),
    pg_read_binary_file(text, bigint, bigint, boolean)
    TO bookstore_replication;
GRANT pg_checkpoint TO bookstore_replication;
\! echo 'host replication bookstore_replication all scram-sha-256' >>"$PGDATA/pg_hba.conf"

-- These go to the replicas with the copy of the data, and hold there once they are promoted.
-- A replica that was away finds this much; one that was away for longer is copied anew. A slot
-- would keep all, until the primary's disk is full, and is lost with the primary.
ALTER SYSTEM SET wal_keep_size = '1GB';
-- In force from the next start on: now there is nobody to wait for.
ALTER SYSTEM SET synchronous_standby_names = :'names';

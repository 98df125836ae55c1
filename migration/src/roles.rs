//! The database roles of PostgreSQL and what each may do: grants by table and by column, and no
//! default privileges (PostgreSQL, 5.7. Privileges). A new table is granted by the revision that
//! creates it.

use bookstore_entity::schema::{On, tables};

use crate::sql::{literal, quoted};

/// The role of the service.
const APP: &str = "bookstore_app";

/// The role of people and reports.
const READER: &str = "bookstore_reader";

/// The tables of the migrations, which the service and `migrate status` read.
const BOOKKEEPING: [&str; 4] = [
    "seaql_migrations",
    "bookstore_migrations",
    "bookstore_migration_steps",
    "bookstore_migration_lock",
];

/// The tables that the service only reads.
const KEYS: [&str; 1] = ["sealing_keys"];

/// The tables that the reader may not see: keys, and answers that are kept for callers.
const HIDDEN: [&str; 2] = ["sealing_keys", "idempotency_keys"];

/// The columns that the reader may not see. A table with one is granted by column, so that a later
/// column is granted by name too.
const HIDDEN_COLUMNS: [(&str, &str); 1] = [("users", "password_hash")];

/// What a role may do with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: &'static str,
    /// The privileges, as in `SELECT, INSERT`.
    pub privileges: &'static str,
    /// The only columns; empty: all of them.
    pub columns: Vec<String>,
    /// The table.
    pub table: String,
}

impl Grant {
    /// The statement.
    fn sql(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quoted(column)).collect();
        let columns = match columns.is_empty() {
            true => String::new(),
            false => format!(" ({})", columns.join(", ")),
        };
        let (privileges, table, role) = (self.privileges, quoted(&self.table), self.role);
        format!("GRANT {privileges}{columns} ON {table} TO {role}")
    }
}

/// Every grant on a table, by table.
pub fn grants() -> Vec<Grant> {
    let declared = tables();
    let names = declared.iter().map(|table| table.name.as_str()).chain(BOOKKEEPING);
    let columns = |name: &str| {
        let table = declared.iter().find(|table| table.name == name);
        let columns = table.map(|table| table.columns.as_slice()).unwrap_or_default();
        let columns = columns.iter().filter(|column| column.on != Some(On::Sqlite));
        columns.map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    names.flat_map(|name| of_table(name, &columns(name))).collect()
}

/// The grants on a table with these columns.
fn of_table(table: &str, columns: &[String]) -> Vec<Grant> {
    let is_read_only = KEYS.contains(&table) || BOOKKEEPING.contains(&table);
    let privileges = if is_read_only { "SELECT" } else { "SELECT, INSERT, UPDATE, DELETE" };
    let table = table.to_owned();
    let mut grants =
        vec![Grant { role: APP, privileges, columns: Vec::new(), table: table.clone() }];
    if !HIDDEN.contains(&table.as_str()) {
        let is_hidden = |column: &str| HIDDEN_COLUMNS.contains(&(table.as_str(), column));
        let columns = match columns.iter().any(|column| is_hidden(column)) {
            true => columns.iter().filter(|column| !is_hidden(column)).cloned().collect(),
            false => Vec::new(),
        };
        grants.push(Grant { role: READER, privileges: "SELECT", columns, table });
    }
    grants
}

/// The statement by which a revision grants a new table, where the roles exist.
pub fn grant_new(table: &str, columns: &[String]) -> String {
    where_roles_exist(&of_table(table, columns))
}

/// The statement that grants the tables of the migrations themselves.
pub(crate) fn grant_bookkeeping() -> String {
    let grants: Vec<Grant> = BOOKKEEPING.iter().flat_map(|table| of_table(table, &[])).collect();
    where_roles_exist(&grants)
}

fn where_roles_exist(grants: &[Grant]) -> String {
    let mut sql = String::from("DO $$ BEGIN\n");
    for role in [APP, READER] {
        let mut own = grants.iter().filter(|grant| grant.role == role).peekable();
        if own.peek().is_some() {
            let name = literal(role);
            sql += &format!("    IF EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN\n");
            own.for_each(|grant| sql += &format!("        {};\n", grant.sql()));
            sql += "    END IF;\n";
        }
    }
    sql + "END $$"
}

/// The script that makes the roles and gives them their privileges, for a superuser in the
/// service's own database. It can be run again at any time. On the tables of the service it takes
/// away what a role has beyond its grants.
pub fn script() -> String {
    let all = grants();
    let mut sql = HEAD.to_owned();
    for grants in all.chunk_by(|one, other| one.table == other.table) {
        let Some(Grant { table, .. }) = grants.first() else { continue };
        let (name, table) = (literal(&format!("public.{table}")), quoted(table));
        sql += &format!("    IF to_regclass({name}) IS NOT NULL THEN\n");
        sql += &format!("        REVOKE ALL ON {table} FROM {APP}, {READER};\n");
        grants.iter().for_each(|grant| sql += &format!("        {};\n", grant.sql()));
        sql += "    END IF;\n";
    }
    sql + TAIL
}

/// The script up to the grants on tables.
const HEAD: &str = r"-- The roles and privileges of the bookstore in one PostgreSQL database, as `bookstore migrate roles`
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
";

/// The script behind them.
const TAIL: &str = r"    IF to_regprocedure('public.bookstore_timeline_history(bigint)') IS NOT NULL THEN
        REVOKE ALL ON FUNCTION bookstore_timeline_history(bigint) FROM PUBLIC, bookstore_reader;
        GRANT EXECUTE ON FUNCTION bookstore_timeline_history(bigint) TO bookstore_app;
    END IF;
END
$$;

COMMIT;
";

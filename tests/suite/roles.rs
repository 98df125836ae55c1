//! The roles of `deploy/postgres/roles.sql`, in databases whose privileges come from that file and
//! the migrations alone.

use std::{env, fs};

use bookstore_tests::{Database, Engine, Origin, Postgres, PostgresDatabase, run};
use sqlx::{Connection, PgConnection};

use crate::tidy::root;

/// Every grant on an object of the schema to another role than the owner, a line each: object,
/// column, role and privileges. `PUBLIC` stands for everybody.
const GRANTS: &str = "
    WITH acls AS (
        SELECT 'table ' || relname AS object, '' AS attribute, relowner AS owner,
            coalesce(relacl, acldefault('r', relowner)) AS acl
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        UNION ALL
        SELECT 'sequence ' || relname, '', relowner, coalesce(relacl, acldefault('s', relowner))
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
        UNION ALL
        SELECT 'table ' || relname, attname, relowner, attacl
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attacl IS NOT NULL
        UNION ALL
        SELECT 'function ' || proname, '', proowner, coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'schema ' || nspname, '', nspowner, coalesce(nspacl, acldefault('n', nspowner))
        FROM pg_namespace WHERE nspname = 'public'
        UNION ALL
        SELECT 'database', '', datdba, coalesce(datacl, acldefault('d', datdba))
        FROM pg_database WHERE datname = current_database()
        UNION ALL
        SELECT 'by default on ' || defaclobjtype::text, '', defaclrole, defaclacl FROM pg_default_acl
    )
    SELECT * FROM (SELECT object, attribute,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role,
        string_agg(privilege_type || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
            ', ' ORDER BY privilege_type) AS privileges
    FROM acls, aclexplode(acl) AS one
    WHERE one.grantee <> owner
    GROUP BY object, attribute, one.grantee) AS listed
    ORDER BY object COLLATE \"C\", attribute COLLATE \"C\", role COLLATE \"C\"";

/// The list of grants in a database.
async fn grants(database: &Database) -> String {
    let rows = database.sql(GRANTS).await;
    let line = |row: Vec<Option<String>>| {
        row.into_iter().flatten().filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("  ")
    };
    rows.into_iter().map(|row| line(row) + "\n").collect()
}

async fn migrate(database: &Database, to: &str) {
    let url = database.owner_url();
    let migrated = run(&["migrate", "up", to], &[("DATABASE_URL", &url)]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
}

/// The file lists every grant. A migration that adds a table or a column has to change it.
const LISTED: &str = include_str!("../golden/grants.txt");

/// Default privileges as deployments had them: each new table was given to both roles.
const BY_DEFAULT: &str = "
    ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
        GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO bookstore_app;
    ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
        GRANT USAGE ON SEQUENCES TO bookstore_app;
    ALTER DEFAULT PRIVILEGES FOR ROLE bookstore_owner IN SCHEMA public
        GRANT SELECT ON TABLES TO bookstore_reader";

/// The last revision that granted nothing.
const BEFORE: &str = "m20261125_000001_create_timeline_history";

/// The migrations grant each table by its name, the script grants the same, and both take away what
/// deployments have had by default.
#[tokio::test]
async fn every_grant_is_listed() {
    let create = async || Database::create(Engine::Postgres, Origin::Empty).await;
    let fresh = create().await;
    migrate(&fresh, "head").await;
    let found = grants(&fresh).await;
    if env::var_os("BOOKSTORE_WRITE_GOLDEN").is_some() {
        fs::write(root().join("tests/golden/grants.txt"), found).expect("the list of grants");
        return;
    }
    let rewrite = "BOOKSTORE_WRITE_GOLDEN=1 cargo test --workspace roles::";
    assert_eq!(found, LISTED, "the grants differ from the list: {rewrite}");
    fresh.sql(SCRIPT).await;
    assert_eq!(grants(&fresh).await, LISTED, "after the script");
    fresh.sql("GRANT ALL ON users, sealing_keys TO bookstore_reader").await;
    fresh.sql(SCRIPT).await;
    assert_eq!(grants(&fresh).await, LISTED, "after too many grants");

    let old = create().await;
    old.sql(BY_DEFAULT).await;
    migrate(&old, BEFORE).await;
    assert_ne!(grants(&old).await, LISTED);
    migrate(&old, "head").await;
    assert_eq!(grants(&old).await, LISTED, "after an upgrade");
}

/// The file that operators run.
const SCRIPT: &str = include_str!("../../deploy/postgres/roles.sql");

#[tokio::test]
async fn script_of_the_roles_is_what_the_program_prints() {
    let printed = run(&["migrate", "roles"], &[]).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    if env::var_os("BOOKSTORE_WRITE_GOLDEN").is_some() {
        let path = root().join("deploy/postgres/roles.sql");
        fs::write(path, printed.output).expect("the script");
        return;
    }
    assert!(printed.output == SCRIPT, "BOOKSTORE_WRITE_GOLDEN=1 cargo test --workspace roles::");
}

/// A table that a revision of `migrate new` creates is granted by it.
#[test]
fn new_table_is_granted_by_name() {
    let sql = bookstore_migration::roles::grant_new("shelves", &["id".to_owned()]);
    for grant in [
        "GRANT SELECT, INSERT, UPDATE, DELETE ON \"shelves\" TO bookstore_app;",
        "GRANT SELECT ON \"shelves\" TO bookstore_reader;",
    ] {
        assert!(sql.contains(grant), "{sql}");
    }
}

/// The SQLSTATE of the error of `sql` as a role; `None` if it succeeds.
async fn refusal(database: &PostgresDatabase, role: &str, sql: &'static str) -> Option<String> {
    let mut connection = match PgConnection::connect(&database.url(role)).await {
        Ok(connection) => connection,
        Err(error) => return code(&error),
    };
    let outcome = sqlx::raw_sql(sql).execute(&mut connection).await;
    outcome.err().and_then(|error| code(&error))
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error().and_then(|error| error.code());
    Some(code.map_or_else(|| error.to_string(), |code| code.into_owned()))
}

/// The timeouts of what uses the service's role beside it.
const NETS: &str = "DO $$ BEGIN
        ASSERT current_setting('statement_timeout') = '1min';
        ASSERT current_setting('lock_timeout') = '1min';
        ASSERT current_setting('idle_in_transaction_session_timeout') = '1min';
    END $$";

#[tokio::test]
async fn each_role_has_only_its_privileges() {
    const DENIED: Option<&str> = Some("42501");
    let database = Postgres::shared().await.database(Origin::Migrated).await;
    let table = "CREATE TABLE things (id int)";
    for (role, sql, wanted) in [
        ("bookstore_app", table, DENIED),
        ("bookstore_owner", table, None),
        // Nothing is granted by default.
        ("bookstore_app", "SELECT * FROM things", DENIED),
        ("bookstore_reader", "SELECT * FROM things", DENIED),
        ("bookstore_app", "UPDATE categories SET name = name", None),
        ("bookstore_app", NETS, None),
        ("bookstore_app", "TRUNCATE categories", DENIED),
        ("bookstore_app", "DROP TABLE categories", DENIED),
        ("bookstore_app", "CREATE TEMPORARY TABLE mine (id int)", DENIED),
        ("bookstore_app", "SELECT * FROM sealing_keys, seaql_migrations", None),
        ("bookstore_app", "UPDATE sealing_keys SET id = id", DENIED),
        ("bookstore_app", "DELETE FROM seaql_migrations", DENIED),
        ("bookstore_app", "DELETE FROM bookstore_migration_lock", DENIED),
        ("bookstore_reader", "SELECT * FROM books, seaql_migrations", None),
        ("bookstore_reader", "SELECT id, email FROM users", None),
        ("bookstore_reader", "SELECT password_hash FROM users", DENIED),
        ("bookstore_reader", "SELECT * FROM users", DENIED),
        ("bookstore_reader", "SELECT * FROM sealing_keys", DENIED),
        ("bookstore_reader", "SELECT * FROM idempotency_keys", DENIED),
        ("bookstore_reader", "INSERT INTO categories SELECT * FROM categories", DENIED),
        ("bookstore_reader", "SELECT bookstore_timeline_history(1)", DENIED),
        ("bookstore_reader", "SELECT * FROM pg_stat_wal_receiver, pg_control_system()", None),
        ("bookstore_app", "DELETE FROM categories", None),
    ] {
        let refused = refusal(&database, role, sql).await;
        assert_eq!(refused.as_deref(), wanted, "{role}: {sql}");
    }
}

#[tokio::test]
async fn role_without_a_grant_is_refused() {
    let postgres = Postgres::shared().await;
    let database = postgres.database(Origin::Empty).await;
    let name = format!("stranger_of_{}", database.name());
    let mut superuser = database.connect().await;
    let create = sqlx::AssertSqlSafe(format!("CREATE ROLE {name} LOGIN"));
    sqlx::raw_sql(create).execute(&mut superuser).await.expect("a role");
    let refused = refusal(&database, &name, "SELECT 1").await;
    assert_eq!(refused.as_deref(), Some("42501"));
}

/// The suite's comparisons prove nothing if the default collation is "C".
#[tokio::test]
async fn test_cluster_collation_is_not_c() {
    let database = Postgres::shared().await.database(Origin::Empty).await;
    let mut connection = database.connect().await;
    let sql = "SELECT 'a' < 'B' AND NOT 'a' < 'B' COLLATE \"C\"";
    let linguistic: bool = sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("a row");
    assert!(linguistic);
}

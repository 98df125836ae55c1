//! The roles of `deploy/postgres/roles.sql`, in a database whose privileges come from that file
//! alone.

use bookstore_tests::{Origin, Postgres, PostgresDatabase};
use sqlx::{Connection, PgConnection};

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

#[tokio::test]
async fn each_role_has_only_its_privileges() {
    const DENIED: Option<&str> = Some("42501");
    let database = Postgres::shared().await.database(Origin::Empty).await;
    let table = "CREATE TABLE things (id int)";
    for (role, sql, wanted) in [
        ("bookstore_app", table, DENIED),
        ("bookstore_owner", table, None),
        ("bookstore_app", "INSERT INTO things VALUES (1)", None),
        ("bookstore_app", "UPDATE things SET id = 2", None),
        ("bookstore_app", "TRUNCATE things", DENIED),
        ("bookstore_app", "DROP TABLE things", DENIED),
        ("bookstore_app", "CREATE TEMPORARY TABLE mine (id int)", DENIED),
        ("bookstore_reader", "SELECT * FROM things", None),
        ("bookstore_reader", "INSERT INTO things VALUES (1)", DENIED),
        ("bookstore_reader", "SELECT * FROM pg_stat_wal_receiver, pg_control_system()", None),
        ("bookstore_app", "DELETE FROM things", None),
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

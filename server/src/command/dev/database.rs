//! The database, its roles and their password in a developer's cluster.

use bookstore_migration::roles;
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};

use super::access::{ClusterAccess, DATABASE, HOST, OWNER, SUPERUSER};
use crate::command::failure::Failure;

/// Creates what is missing. The roles are those of `deploy/postgres/roles.sql`.
pub(super) async fn prepare(access: &ClusterAccess) -> Result<(), Failure> {
    let mut connection = connect(access, "postgres").await?;
    let exists = sqlx::query("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)");
    if !exists.bind(DATABASE).fetch_one(&mut connection).await?.try_get::<bool, _>(0)? {
        let create = format!("CREATE DATABASE {DATABASE}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await?;
    }
    connection.close().await?;
    let mut connection = connect(access, DATABASE).await?;
    let has_owner = sqlx::query("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)");
    if !has_owner.bind(OWNER).fetch_one(&mut connection).await?.try_get::<bool, _>(0)? {
        sqlx::raw_sql(sqlx::AssertSqlSafe(roles::script())).execute(&mut connection).await?;
    }
    // The password has only letters and digits.
    let set = format!("ALTER ROLE {OWNER} PASSWORD '{}'", access.password);
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Connects once and closes the connection.
pub(super) async fn try_to_connect(access: &ClusterAccess) -> Result<(), sqlx::Error> {
    connect(access, "postgres").await?.close().await
}

async fn connect(access: &ClusterAccess, database: &str) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(HOST)
        .port(access.port)
        .username(SUPERUSER)
        .password(&access.password)
        .database(database);
    PgConnection::connect_with(&options).await
}

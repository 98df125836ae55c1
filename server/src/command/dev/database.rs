//! The database, its roles and their password in a developer's cluster.

use bookstore_migration::roles;
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};

use super::cluster::{DATABASE, DevCluster, OWNER, SUPERUSER};
use crate::command::failure::Failure;

/// Creates what is missing. The roles are those of `deploy/postgres/roles.sql`.
pub(super) async fn prepare(cluster: &DevCluster) -> Result<(), Failure> {
    let mut connection = connect(cluster, "postgres").await?;
    let exists = sqlx::query("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)");
    if !exists.bind(DATABASE).fetch_one(&mut connection).await?.try_get::<bool, _>(0)? {
        let create = format!("CREATE DATABASE {DATABASE}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await?;
    }
    connection.close().await?;
    let mut connection = connect(cluster, DATABASE).await?;
    let has_owner = sqlx::query("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)");
    if !has_owner.bind(OWNER).fetch_one(&mut connection).await?.try_get::<bool, _>(0)? {
        sqlx::raw_sql(sqlx::AssertSqlSafe(roles::script())).execute(&mut connection).await?;
    }
    // The password has only letters and digits.
    let set = format!("ALTER ROLE {OWNER} PASSWORD '{}'", cluster.password());
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

async fn connect(cluster: &DevCluster, database: &str) -> Result<PgConnection, Failure> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(cluster.port())
        .username(SUPERUSER)
        .password(cluster.password())
        .database(database);
    Ok(PgConnection::connect_with(&options).await?)
}

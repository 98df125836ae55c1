//! What a statement is run for, on either driver.

use futures_util::future::BoxFuture;
use sea_orm::{ExecResult, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Sqlite, SqliteConnection, query::Query};

use crate::session::{
    connection::Driver,
    rows::{self, Reading, Rows},
};

/// What a statement is run for.
pub(crate) struct Want<T> {
    postgres: for<'a> fn(&'a mut PgConnection, PgQuery<'a>, Reading) -> Answer<'a, T>,
    sqlite: for<'a> fn(&'a mut SqliteConnection, SqliteQuery<'a>, Reading) -> Answer<'a, T>,
}

type PgQuery<'a> = Query<'a, Postgres, SqlxValues>;
type SqliteQuery<'a> = Query<'a, Sqlite, SqlxValues>;
type Answer<'a, T> = BoxFuture<'a, Result<T, sqlx::Error>>;

/// For its rows.
pub(crate) const ROWS: Want<Rows> = Want {
    postgres: |driver, query, reading| {
        Box::pin(async move { rows::read(query.fetch(driver), reading).await })
    },
    sqlite: |driver, query, reading| {
        Box::pin(async move { rows::read(query.fetch(driver), reading).await })
    },
};

/// For what it changes.
pub(crate) const EFFECT: Want<ExecResult> = Want {
    postgres: |driver, query, _| Box::pin(async { query.execute(driver).await.map(Into::into) }),
    sqlite: |driver, query, _| Box::pin(async { query.execute(driver).await.map(Into::into) }),
};

impl<T> Want<T> {
    pub(crate) fn run<'a>(
        &self,
        driver: &'a mut Driver,
        statement: &'a Statement,
        reading: Reading,
    ) -> Answer<'a, T> {
        let values = SqlxValues(statement.values.clone().unwrap_or(sea_orm::Values(Vec::new())));
        // The texts come from SeaORM's builder and from constants; values are bound.
        let sql = AssertSqlSafe(statement.sql.as_str());
        match driver {
            Driver::Postgres(postgres, _) => {
                (self.postgres)(postgres, sqlx::query_with(sql, values), reading)
            }
            Driver::Sqlite(sqlite, _) => {
                (self.sqlite)(sqlite, sqlx::query_with(sql, values), reading)
            }
        }
    }
}

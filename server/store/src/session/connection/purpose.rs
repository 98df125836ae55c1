//! What a statement is run for, on either driver: its rows or its effect.

use futures_util::future::BoxFuture;
use sea_orm::{ExecResult, Values};
use sea_query_sqlx::SqlxValues;
use sqlx::{PgConnection, Postgres, SqlStr, Sqlite, SqliteConnection};

use crate::session::{
    connection::driver::Driver,
    rows::{self, Reading, Rows},
};

/// What a statement is run for, with the code that runs it on each driver.
pub(crate) struct Purpose<T> {
    postgres: for<'a> fn(&'a mut PgConnection, PgQuery<'a>, Reading) -> Exchanged<'a, T>,
    sqlite: for<'a> fn(&'a mut SqliteConnection, SqliteQuery<'a>, Reading) -> Exchanged<'a, T>,
}

type PgQuery<'a> = sqlx::query::Query<'a, Postgres, SqlxValues>;
type SqliteQuery<'a> = sqlx::query::Query<'a, Sqlite, SqlxValues>;
type Exchanged<'a, T> = BoxFuture<'a, Result<T, sqlx::Error>>;

/// The rows that the statement returns.
pub(crate) const ROWS: Purpose<Rows> = Purpose {
    postgres: |driver, query, reading| {
        Box::pin(async move { rows::read(query.fetch(driver), reading).await })
    },
    sqlite: |driver, query, reading| {
        Box::pin(async move { rows::read(query.fetch(driver), reading).await })
    },
};

/// The number of rows that the statement changes.
pub(crate) const EFFECT: Purpose<ExecResult> = Purpose {
    postgres: |driver, query, _| Box::pin(async { query.execute(driver).await.map(Into::into) }),
    sqlite: |driver, query, _| Box::pin(async { query.execute(driver).await.map(Into::into) }),
};

impl<T> Purpose<T> {
    pub(crate) fn run<'a>(
        &self,
        driver: &'a mut Driver,
        sql: SqlStr,
        values: &Values,
        reading: Reading,
    ) -> Exchanged<'a, T> {
        let values = SqlxValues(values.clone());
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

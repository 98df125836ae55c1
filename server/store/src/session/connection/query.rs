//! A query to run: one that was built for it, or one whose text was made once.

use sea_orm::{Statement, Values};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::session::statement_text::CachedStatement;

/// A query to run.
pub(crate) enum SqlQuery {
    /// One whose text was built for it.
    Built(SqlStr, Values),
    /// One whose text was made once.
    Cached(CachedStatement),
}

impl SqlQuery {
    pub(crate) fn of(statement: Statement) -> Self {
        let (sql, values) = parts(statement);
        Self::Built(sql, values)
    }
}

/// A statement's text and values. The text comes from SeaORM's builder or from a constant. Values
/// are bound.
pub(crate) fn parts(statement: Statement) -> (SqlStr, Values) {
    let Statement { sql, values, .. } = statement;
    (AssertSqlSafe(sql).into_sql_str(), values.unwrap_or(Values(Vec::new())))
}

/// Whether a statement was prepared for an older schema.
pub(crate) fn is_stale_plan(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "0A000")
}

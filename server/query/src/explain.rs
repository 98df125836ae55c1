//! The plan of a list's statement on either engine: which indexes it walks, and whether it sorts or
//! reads a whole table (PostgreSQL, 14.1. Using EXPLAIN; sqlite.org/eqp.html).

pub mod advice;
mod plan;
mod postgres;
mod sqlite;

use bookstore_store::{Connection, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

pub use self::plan::{Plan, PlanStep};

/// How much the engine knows about a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Plans the statement and does not run it.
    Planned,
    /// Runs the statement too, and shows rows and times (`EXPLAIN ANALYZE`). SQLite has no such form.
    Measured,
}

/// Explains a statement in place of running it. The session is read-only, so the statement changes
/// nothing even if it is run.
///
/// # Errors
/// What the database answers.
pub async fn explain(
    connection: &Connection,
    mut statement: Statement,
    detail: Detail,
) -> Result<Plan, StoreError> {
    match connection.get_database_backend() {
        DbBackend::Postgres => {
            let options = match detail {
                Detail::Planned => "EXPLAIN (FORMAT JSON) ",
                Detail::Measured => "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ",
            };
            statement.sql.insert_str(0, options);
            let row = connection.query_one_raw(statement).await?;
            let plan = row.map(|row| row.try_get_by_index(0)).transpose()?;
            Ok(plan.map(|plan| postgres::read(&plan)).unwrap_or_default())
        }
        _ => {
            statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
            let mut nodes = Vec::new();
            for row in connection.query_all_raw(statement).await? {
                nodes.push(sqlite::PlanNode {
                    id: row.try_get_by_index(0)?,
                    parent: row.try_get_by_index(1)?,
                    detail: row.try_get_by_index(3)?,
                });
            }
            Ok(sqlite::read(&nodes))
        }
    }
}

/// How many rows a table has, by the planner's statistics on PostgreSQL: `None` if it was never
/// analyzed, and on SQLite, whose plans do not depend on it.
///
/// # Errors
/// What the database answers.
pub async fn table_rows(connection: &Connection, table: &str) -> Result<Option<i64>, StoreError> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(None);
    }
    let sql = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(quote_ident($1))";
    let statement = Statement::from_sql_and_values(backend, sql, [table.into()]);
    let row = connection.query_one_raw(statement).await?;
    let rows: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(rows.filter(|rows| *rows >= 0))
}

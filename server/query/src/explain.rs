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
                Detail::Measured => "EXPLAIN (ANALYZE, FORMAT JSON) ",
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

/// How many rows a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRows {
    /// SQLite's plans do not depend on it.
    Unknown,
    /// PostgreSQL has no statistics of the table, so the numbers of its plans are guesses.
    NeverAnalyzed,
    /// By the planner's statistics.
    About(i64),
}

/// Reads how many rows a table has by `pg_class.reltuples` (PostgreSQL, 53.11. pg_class).
///
/// # Errors
/// What the database answers.
pub async fn table_rows(connection: &Connection, table: &str) -> Result<TableRows, StoreError> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(TableRows::Unknown);
    }
    let sql = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(quote_ident($1))";
    let statement = Statement::from_sql_and_values(backend, sql, [table.into()]);
    let row = connection.query_one_raw(statement).await?;
    let rows: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(match rows {
        None => TableRows::Unknown,
        Some(rows) if rows < 0 => TableRows::NeverAnalyzed,
        Some(rows) => TableRows::About(rows),
    })
}

/// An index of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableIndex {
    /// Its name.
    pub name: String,
    /// Its columns in their order, each with whether its greatest value comes first. An expression
    /// has a text that is the name of no column.
    pub columns: Vec<(String, bool)>,
}

/// Reads the indexes of a table that serve any query: those that are valid and have no predicate.
///
/// # Errors
/// What the database answers.
pub async fn table_indexes(
    connection: &Connection,
    table: &str,
) -> Result<Vec<TableIndex>, StoreError> {
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => {
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid, n, true), \
             indoption[n - 1] & 1 = 1 \
             FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
             JOIN pg_am ON pg_am.oid = relam, generate_series(1, indnkeyatts) AS n \
             WHERE indrelid = to_regclass(quote_ident($1)) AND indisvalid AND indpred IS NULL \
             AND amname = 'btree' ORDER BY 1, n"
        }
        _ => {
            "SELECT list.name, coalesce(info.name, ''), info.\"desc\" = 1 \
             FROM pragma_index_list(?) AS list, pragma_index_xinfo(list.name) AS info \
             WHERE list.partial = 0 AND info.key = 1 ORDER BY list.name, info.seqno"
        }
    };
    let statement = Statement::from_sql_and_values(backend, sql, [table.into()]);
    let mut indexes: Vec<TableIndex> = Vec::new();
    for row in connection.query_all_raw(statement).await? {
        let name: String = row.try_get_by_index(0)?;
        let column = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        match indexes.last_mut().filter(|index| index.name == name) {
            Some(index) => index.columns.push(column),
            None => indexes.push(TableIndex { name, columns: vec![column] }),
        }
    }
    Ok(indexes)
}

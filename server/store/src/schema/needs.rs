//! Whether the database has the objects that the program's statements need. A table, a column, a
//! key or a function may have been dropped by hand, although all revisions are applied.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::{
    deadline::Deadline, error::StoreError, schema::nodes::nodes_to_ask,
    session::connection::Connection, topology::nodes::Topology,
};

/// The objects that the program's statements need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Columns, each with its table.
    pub columns: Vec<(String, String)>,
    /// Unique keys that statements name in `ON CONFLICT`: a table and its columns, separated by
    /// commas.
    pub keys: Vec<(String, String)>,
    /// Functions, on PostgreSQL.
    pub functions: Vec<String>,
}

/// The columns of the database.
const POSTGRES_COLUMNS: &str = "\
    SELECT c.relname::text, a.attname::text FROM pg_class c \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) \
    AND c.relnamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY (current_schemas(false)))";

/// The keys that `ON CONFLICT` can use: unique, valid, not partial and not deferrable.
const POSTGRES_KEYS: &str = "\
    SELECT c.relname::text, (SELECT string_agg(a.attname, ', ' ORDER BY k.place) \
        FROM unnest(i.indkey::smallint[]) WITH ORDINALITY k (number, place) \
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
        WHERE k.place <= i.indnkeyatts) \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
    WHERE i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL \
    AND i.indexprs IS NULL AND pg_table_is_visible(c.oid) \
    AND c.relnamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY (current_schemas(false)))";

const POSTGRES_FUNCTIONS: &str = "\
    SELECT p.proname::text, '' FROM pg_proc p WHERE pg_function_is_visible(p.oid) \
    AND p.pronamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY (current_schemas(false)))";

const SQLITE_COLUMNS: &str = "\
    SELECT lower(m.name), lower(c.name) FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c \
    WHERE m.type = 'table'";

const SQLITE_KEYS: &str = "\
    SELECT lower(m.name), (SELECT group_concat(lower(i.name), ', ') FROM pragma_index_info(l.name) i) \
    FROM sqlite_schema m JOIN pragma_index_list(m.name) l \
    WHERE m.type = 'table' AND l.\"unique\" AND NOT l.partial";

/// Returns what of `needs` is missing, as `table`, `table.column`, `table (key)` and `function()`.
///
/// # Errors
/// If no node answers within `deadline`.
pub(crate) async fn missing(
    topology: &Topology,
    needs: &Needs,
    deadline: Deadline,
) -> Result<Vec<String>, StoreError> {
    let ask = async |connection: &Connection| Ok(missing_on(connection, needs).await?);
    let mut last = StoreError::internal("there is no node");
    for node in nodes_to_ask(topology) {
        match topology.nodes[node].ask(deadline, ask).await {
            Ok(missing) => return Ok(missing),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn missing_on(connection: &Connection, needs: &Needs) -> Result<Vec<String>, DbErr> {
    let is_postgres = connection.get_database_backend() == DbBackend::Postgres;
    let (columns, keys) = match is_postgres {
        true => (POSTGRES_COLUMNS, POSTGRES_KEYS),
        false => (SQLITE_COLUMNS, SQLITE_KEYS),
    };
    let columns = pairs(connection, columns).await?;
    let keys = pairs(connection, keys).await?;
    let tables: HashSet<&String> = columns.iter().map(|(table, _)| table).collect();
    let mut missing = Vec::new();
    for pair in &needs.columns {
        let (table, column) = pair;
        if !tables.contains(table) {
            if !missing.contains(table) {
                missing.push(table.clone());
            }
        } else if !columns.contains(pair) {
            missing.push(format!("{table}.{column}"));
        }
    }
    for pair in &needs.keys {
        let (table, key) = pair;
        if tables.contains(table) && !keys.contains(pair) {
            missing.push(format!("{table} (key {key})"));
        }
    }
    if is_postgres {
        let functions = pairs(connection, POSTGRES_FUNCTIONS).await?;
        let gone = |name: &&String| !functions.contains(&((*name).clone(), String::new()));
        missing.extend(needs.functions.iter().filter(gone).map(|name| format!("{name}()")));
    }
    Ok(missing)
}

async fn pairs(connection: &Connection, sql: &str) -> Result<HashSet<(String, String)>, DbErr> {
    let backend = connection.get_database_backend();
    let rows = connection.query_all_raw(Statement::from_string(backend, sql)).await?;
    let pair = |row: &sea_orm::QueryResult| -> Result<(String, String), DbErr> {
        let second: Option<String> = row.try_get_by_index(1)?;
        Ok((row.try_get_by_index(0)?, second.unwrap_or_default()))
    };
    rows.iter().map(pair).collect()
}

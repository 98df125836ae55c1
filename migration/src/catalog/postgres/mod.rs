//! The reader of PostgreSQL: pg_catalog alone, which shows everything to every role.
//! (information_schema shows constraints to their owners only.)

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Catalog, ObjectKey};
use crate::{bookkeeping, expression::Engine};

/// The queries, each with rows of kind, table, name, facet and value.
const QUESTIONS: &[&str] = &[
    include_str!("relations.sql"),
    include_str!("columns.sql"),
    include_str!("constraints.sql"),
    include_str!("indexes.sql"),
    include_str!("code.sql"),
    include_str!("others.sql"),
];

/// Settings that change how the server writes expressions: a database or a role may have others
/// than these. They end with the transaction.
const SETTINGS: &str = "\
    SET LOCAL quote_all_identifiers = off; SET LOCAL DateStyle = 'ISO, MDY'; \
    SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC'; \
    SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; \
    SET LOCAL xmloption = 'content'; SET LOCAL standard_conforming_strings = on";

/// The schema of the service: the one that holds the table of revisions, or the first one of the
/// `search_path`.
///
/// # Errors
/// What the database answers.
pub(super) async fn schema<C: ConnectionTrait>(connection: &C) -> Result<String, DbErr> {
    let sql = "SELECT coalesce((SELECT n.nspname FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.oid = pg_catalog.to_regclass('seaql_migrations')), \
               pg_catalog.current_schema(), 'public')::pg_catalog.text";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the schema's name".to_owned()))?.try_get_by_index(0)
}

/// Reads a schema; see [`Catalog::read_schema`].
///
/// # Errors
/// What the database answers.
pub(super) async fn read<C: ConnectionTrait>(
    connection: &C,
    schema: &str,
) -> Result<Catalog, DbErr> {
    connection.execute_unprepared(SETTINGS).await?;
    let path = "SELECT pg_catalog.set_config('search_path', pg_catalog.quote_ident($1), true)";
    let path = Statement::from_sql_and_values(DbBackend::Postgres, path, [schema.into()]);
    connection.query_one_raw(path).await?;
    let sql = QUESTIONS.join("\nUNION ALL\n");
    let rows = connection.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let mut catalog = Catalog::new(Engine::Postgres);
    for row in rows {
        let cell = |at: usize| row.try_get_by_index::<String>(at);
        let key = ObjectKey { kind: cell(0)?, table: cell(1)?, name: cell(2)? };
        let owner = if key.table.is_empty() { &key.name } else { &key.table };
        if !bookkeeping::TABLES.contains(&owner.as_str()) {
            catalog.set(&key, &cell(3)?, cell(4)?);
        }
    }
    number_columns(&mut catalog);
    Ok(catalog)
}

/// A dropped column keeps its number, so columns are counted instead.
fn number_columns(catalog: &mut Catalog) {
    let tables: Vec<String> = catalog
        .objects
        .keys()
        .filter(|key| key.kind == "table")
        .map(|key| key.name.clone())
        .collect();
    for table in tables {
        let columns: Vec<ObjectKey> =
            catalog.columns(&table).into_iter().map(|(key, _)| key.clone()).collect();
        for (at, key) in columns.iter().enumerate() {
            catalog.set(key, "position", (at + 1).to_string());
        }
    }
}

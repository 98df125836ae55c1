//! Whether repairing a difference loses rows.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::inside::Inside;
use crate::{
    drift::{Finding, Loss},
    expression::Engine,
    sql::quoted,
};

/// Checks for each table that no migration makes whether it has a row.
///
/// # Errors
/// What the database answers.
pub(super) async fn weigh<C: ConnectionTrait>(
    inside: &Inside<'_, C>,
    findings: &mut [Finding],
) -> Result<(), DbErr> {
    for finding in findings {
        let is_table = finding.kind == "table.added" && finding.repair_loses == Loss::IfRows;
        if is_table && has_rows(inside, &finding.object).await? {
            finding.repair_loses = Loss::Yes;
        }
    }
    Ok(())
}

async fn has_rows<C: ConnectionTrait>(inside: &Inside<'_, C>, table: &str) -> Result<bool, DbErr> {
    let name = match &inside.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(table)),
        None => quoted(table),
    };
    let connection = inside.connection;
    if inside.engine == Engine::Postgres {
        // Without the right to read it the transaction would fail.
        let sql = "SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false)";
        let values = [name.clone().into()];
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let row = connection.query_one_raw(statement).await?;
        if !row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(false) {
            return Ok(false);
        }
    }
    let sql = format!("SELECT 1 FROM {name} LIMIT 1");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    Ok(connection.query_one_raw(statement).await?.is_some())
}

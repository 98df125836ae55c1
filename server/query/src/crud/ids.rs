//! Conditions on ids, and columns by their names.

use bookstore_store::{Connection, StoreError};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, IdenStatic, Iterable, Value,
    sea_query::{Alias, Expr, ExprTrait, PgFunc, SimpleExpr},
};
use uuid::Uuid;

use crate::crud::resource::Resource;

/// A resource's column by its name.
///
/// # Errors
/// [`StoreError::Internal`] if the table has no such column: a defect of this program.
pub(crate) fn column<R: Resource>(
    name: &str,
) -> Result<<R::Entity as EntityTrait>::Column, StoreError> {
    <R::Entity as EntityTrait>::Column::iter()
        .find(|column| column.as_str() == name)
        .ok_or_else(|| StoreError::internal(format!("{} has no column {name}", R::NAME)))
}

/// Whether a row has this id.
pub(crate) fn id_is(id: Uuid) -> SimpleExpr {
    Expr::col(Alias::new("id")).eq(id)
}

/// Whether a column of ids has one of these. The ids are bound as one array on PostgreSQL and as
/// one JSON text on SQLite, so that the SQL text doesn't depend on their number.
pub fn column_in(connection: &Connection, column: &'static str, ids: &[Uuid]) -> SimpleExpr {
    is_one_of(connection.get_database_backend(), column, ids)
}

/// The same for an engine.
pub(crate) fn is_one_of(backend: DbBackend, column: &'static str, ids: &[Uuid]) -> SimpleExpr {
    match backend {
        DbBackend::Postgres => Expr::col(Alias::new(column)).eq(PgFunc::any(ids.to_vec())),
        _ => {
            let text = format!(r#""{column}" IN (SELECT unhex(value) FROM json_each(?))"#);
            Expr::cust_with_values(text, [Value::from(as_json(ids))])
        }
    }
}

/// The index of a column's id among these, to order rows by it.
pub fn position_in(connection: &Connection, column: &'static str, ids: &[Uuid]) -> SimpleExpr {
    match connection.get_database_backend() {
        DbBackend::Postgres => Expr::cust_with_exprs(
            "array_position($1, $2)",
            [Expr::val(ids.to_vec()), Expr::col(Alias::new(column))],
        ),
        _ => {
            let text = format!(r#"instr(?, lower(hex("{column}")))"#);
            Expr::cust_with_values(text, [Value::from(as_json(ids))])
        }
    }
}

fn as_json(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
    serde_json::Value::from(ids).to_string()
}

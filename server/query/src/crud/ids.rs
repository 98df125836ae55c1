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

/// Ids as SQLite's statements take them: an array of hexadecimal texts.
fn as_json(ids: &[Uuid]) -> String {
    let mut json = String::with_capacity(2 + ids.len() * 35);
    json.push('[');
    for (index, id) in ids.iter().enumerate() {
        json.push_str(if index == 0 { "\"" } else { ",\"" });
        json.push_str(id.simple().encode_lower(&mut Uuid::encode_buffer()));
        json.push('"');
    }
    json.push(']');
    json
}

/// How many elements PostgreSQL expects of an array whose value it doesn't know. A plan for fewer
/// would seem cheaper, so PostgreSQL would plan the statement anew each time, in place of using its
/// generic plan (PREPARE, Notes).
const PLANNED_IDS: usize = 10;

/// The value of a statement for one of these ids: an array on PostgreSQL, a JSON text on SQLite.
pub fn value_of(backend: DbBackend, ids: &[Uuid]) -> Value {
    match (backend, ids.first()) {
        (DbBackend::Postgres, Some(first)) => {
            let mut ids = ids.to_vec();
            // A repeated id changes nothing.
            ids.resize(ids.len().max(PLANNED_IDS), *first);
            Value::from(ids)
        }
        (DbBackend::Postgres, None) => Value::from(Vec::<Uuid>::new()),
        _ => Value::from(as_json(ids)),
    }
}

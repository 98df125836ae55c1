//! Imports: many rows in one statement. A row that can't be written doesn't stop the others.

use std::collections::{HashMap, HashSet};

use bookstore_store::{Connection, ConstraintRule, FieldViolation, StoreError, now};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IdenStatic, Iterable,
    Statement, Value,
    sea_query::{
        Alias, ColumnRef, Expr, ExprTrait, LockType, OnConflict, Order, Query, ReturningClause,
        SimpleExpr,
    },
};
use uuid::Uuid;

use crate::crud::{
    ids::{column, column_in},
    resource::{Resource, Values},
    times::later_sql,
    write::stamped,
};

/// The outcome of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landed {
    /// The row was inserted.
    Inserted,
    /// A row with the same id was changed.
    Updated,
    /// The row was not written.
    Rejected(FieldViolation),
}

/// Writes rows with given ids, and returns the outcome of each.
///
/// A row that refers to a missing row is rejected. So is a row whose id exists, unless `change` has
/// set the columns to change in the existing row.
///
/// # Errors
/// What the database answers. Another broken constraint fails all rows.
pub async fn import<R: Resource>(
    connection: &Connection,
    rows: &[Values<R>],
    change: Option<&Values<R>>,
) -> Result<Vec<Landed>, StoreError> {
    let mut landed = vec![None; rows.len()];
    for (index, violation) in without_reference::<R>(connection, rows).await? {
        landed[index].get_or_insert(Landed::Rejected(violation));
    }
    let now = now();
    let kept = rows.iter().zip(&landed).filter(|(_, landed)| landed.is_none());
    let mut kept: Vec<Values<R>> = kept.map(|(row, _)| stamped::<R>(row.clone(), now)).collect();
    // In the order of the ids: two imports of the same ids could deadlock.
    kept.sort_by_key(|row| id_of::<R>(row));
    let versions = put::<R>(connection, &kept, change).await?;
    let tell = |(landed, row): (Option<Landed>, &Values<R>)| {
        landed.unwrap_or_else(|| match id_of::<R>(row).and_then(|id| versions.get(&id)) {
            // A new row has version 1. Each change increments it.
            Some(1) => Landed::Inserted,
            Some(_) => Landed::Updated,
            None => Landed::Rejected(FieldViolation::new("id", "is already taken")),
        })
    };
    Ok(landed.into_iter().zip(rows).map(tell).collect())
}

/// The rows that refer to a missing row. Locks the rows that are referred to until the transaction
/// ends.
async fn without_reference<R: Resource>(
    connection: &Connection,
    rows: &[Values<R>],
) -> Result<Vec<(usize, FieldViolation)>, StoreError> {
    let mut violations = Vec::new();
    for constraint in R::CONSTRAINTS {
        let (ConstraintRule::Exists(table, resource), [name]) =
            (constraint.rule, constraint.columns)
        else {
            continue;
        };
        let column = column::<R>(name)?;
        let reference = |row: &Values<R>| match row.get(column).into_value() {
            Some(Value::Uuid(id)) => id,
            _ => None,
        };
        let mut wanted: Vec<Uuid> = rows.iter().filter_map(reference).collect();
        if wanted.is_empty() {
            continue;
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut query = Query::select();
        query
            .column(Alias::new("id"))
            .from(Alias::new(table))
            .and_where(column_in(connection, "id", &wanted))
            .order_by(Alias::new("id"), Order::Asc);
        if connection.get_database_backend() == DbBackend::Postgres {
            query.lock(LockType::KeyShare);
        }
        let found = connection.query_all(&query).await?;
        let found: HashSet<Uuid> =
            found.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
        for (index, row) in rows.iter().enumerate() {
            if reference(row).is_some_and(|id| !found.contains(&id)) {
                let description = format!("names no {resource} that exists");
                violations.push((index, FieldViolation::new(constraint.field, description)));
            }
        }
    }
    Ok(violations)
}

/// Inserts rows, or changes the existing ones. Returns the version of each written row.
async fn put<R: Resource>(
    connection: &Connection,
    rows: &[Values<R>],
    change: Option<&Values<R>>,
) -> Result<HashMap<Uuid, i64>, StoreError> {
    let mut versions = HashMap::with_capacity(rows.len());
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let (statement, later) = match connection.get_database_backend() {
            DbBackend::Postgres => (from_arrays::<R>(first, rest, change), &rest[rest.len()..]),
            backend => {
                // In chunks of 1, 2, 4 … 512 rows, as in `insert`.
                let (piece, later) = rest.split_at(1 << Ord::min(rest.len().ilog2(), 9));
                (backend.build(&from_values::<R>(piece, change)?), later)
            }
        };
        for row in connection.query_all_raw(statement).await? {
            versions.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        }
        rest = later;
    }
    Ok(versions)
}

/// The columns that the caller sets: all but the times and the version.
fn own_columns<R: Resource>() -> impl Iterator<Item = <R::Entity as EntityTrait>::Column> {
    <R::Entity as EntityTrait>::Column::iter().filter(|column| !STAMPS.contains(&column.as_str()))
}

const STAMPS: [&str; 3] = ["created_at", "updated_at", "version"];

/// Binds each column as one array, so that the SQL text doesn't depend on the number of rows. These
/// arrays can't hold NULL, so a nullable column has a second array that says which values are set.
fn from_arrays<R: Resource>(
    first: &Values<R>,
    rows: &[Values<R>],
    change: Option<&Values<R>>,
) -> Statement {
    let table = R::FIELDS.table;
    let (mut names, mut taken, mut written, mut values) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for column in own_columns::<R>() {
        let name = column.as_str();
        let cells = rows.iter().map(|row| row.get(column).into_value());
        let cells: Vec<Value> = cells.flatten().collect();
        let Some(kind) = cells.first().map(Value::array_type) else { continue };
        written.push(format!("\"{name}\""));
        names.push(format!("\"{name}\""));
        if column.def().is_null() {
            names.push(format!("\"{name} is set\""));
            taken.push(format!("CASE WHEN \"{name} is set\" THEN \"{name}\" END"));
            let is_set = |cell: &Value| Value::from(*cell != cell.as_null());
            let set = cells.iter().map(is_set).collect();
            let filled = cells.into_iter().map(|cell| match cell == cell.as_null() {
                true => cell.dummy_value(),
                false => cell,
            });
            values.push(Value::Array(kind, Some(Box::new(filled.collect()))));
            values.push(Value::Array(Value::from(true).array_type(), Some(Box::new(set))));
        } else {
            taken.push(format!("\"{name}\""));
            values.push(Value::Array(kind, Some(Box::new(cells))));
        }
    }
    let arrays: Vec<String> = (1..=values.len()).map(|index| format!("${index}")).collect();
    for name in STAMPS {
        let value = column::<R>(name).ok().and_then(|it| first.get(it).into_value());
        let Some(value) = value else { continue };
        values.push(value);
        written.push(format!("\"{name}\""));
        taken.push(format!("${}", values.len()));
    }
    let on_conflict = match change {
        None => "NOTHING".to_owned(),
        Some(change) => {
            let set =
                taken_over::<R>(change).map(|name| format!("\"{name}\" = EXCLUDED.\"{name}\""));
            let set = set.collect::<Vec<_>>().join(", ");
            let later = later_import(DbBackend::Postgres, table);
            format!(
                "UPDATE SET {set}, \"updated_at\" = {later}, \"version\" = \"{table}\".\"version\" + 1"
            )
        }
    };
    let sql = format!(
        "INSERT INTO \"{table}\" ({}) SELECT {} FROM unnest({}) AS \"row\" ({}) \
         ON CONFLICT (\"id\") DO {on_conflict} RETURNING \"id\", \"version\"",
        written.join(", "),
        taken.join(", "),
        arrays.join(", "),
        names.join(", "),
    );
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

fn from_values<R: Resource>(
    rows: &[Values<R>],
    change: Option<&Values<R>>,
) -> Result<sea_orm::sea_query::InsertStatement, StoreError> {
    let mut insert = Query::insert();
    let columns = || <R::Entity as EntityTrait>::Column::iter();
    insert.into_table(R::Entity::default()).columns(columns());
    for row in rows {
        let cells = columns().filter_map(|column| row.get(column).into_value());
        let cells = cells.map(SimpleExpr::from);
        insert.values(cells).map_err(|error| StoreError::internal(error.to_string()))?;
    }
    let mut on_conflict = OnConflict::column(Alias::new("id"));
    match change {
        None => on_conflict.do_nothing(),
        Some(change) => {
            let version = (Alias::new(R::FIELDS.table), Alias::new("version"));
            on_conflict
                .update_columns(taken_over::<R>(change).map(Alias::new))
                .value(
                    Alias::new("updated_at"),
                    Expr::cust(later_import(DbBackend::Sqlite, R::FIELDS.table)),
                )
                .value(Alias::new("version"), Expr::col(version).add(1))
        }
    };
    let description = ["id", "version"].map(|name| ColumnRef::from(Alias::new(name)));
    insert.on_conflict(on_conflict).returning(ReturningClause::Columns(description.into()));
    Ok(insert)
}

/// The columns that an existing row takes over from an imported one.
fn taken_over<R: Resource>(change: &Values<R>) -> impl Iterator<Item = &'static str> {
    let set = own_columns::<R>().filter(|column| change.get(*column).is_set());
    set.map(|column| column.as_str()).filter(|name| *name != "id")
}

/// The time of a row that an imported one changes.
fn later_import(backend: DbBackend, table: &str) -> String {
    later_sql(backend, r#"EXCLUDED."updated_at""#, &format!(r#""{table}"."updated_at""#))
}

fn id_of<R: Resource>(row: &Values<R>) -> Option<Uuid> {
    match row.get(column::<R>("id").ok()?).into_value() {
        Some(Value::Uuid(id)) => id,
        _ => None,
    }
}

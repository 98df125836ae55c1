//! Inserts and changes of rows, in batches. The order of the ids prevents deadlocks of batches.

use bookstore_store::{
    Connection, ConstraintCheck, ConstraintRule, FieldViolation, StoreError, now,
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ConnectionTrait, DbBackend, DbErr, EntityTrait, Iterable,
    QueryFilter, TryIntoModel, Value,
    sea_query::{Alias, Expr, ExprTrait, LockType, OnConflict, Order, Query, SimpleExpr},
};
use uuid::Uuid;

use crate::crud::{
    ids::{column, column_in, id_is},
    resource::{Change, Expected, Fixed, Insert, Resource, Row, Values},
    times::later,
};

/// Inserts rows and returns them.
///
/// # Errors
/// [`StoreError::Constraint`], which [`checks_of_insert`] explains.
pub async fn insert<R: Resource>(
    connection: &Connection,
    inserts: &[Insert<Values<R>>],
) -> Result<Vec<Row<R>>, StoreError> {
    let now = now();
    let rows: Vec<Values<R>> =
        inserts.iter().map(|insert| stamped::<R>(insert.values.clone(), now)).collect();
    // In the order of the ids: two batches with the same ids could deadlock otherwise.
    let mut ordered = rows.clone();
    ordered.sort_by_key(|values| id_of_values::<R>(values));
    // In chunks of 1, 2, 4 … 512 rows, so that there are ten texts to prepare and not a thousand.
    let mut rest = ordered.as_slice();
    while !rest.is_empty() {
        let piece = 1 << Ord::min(rest.len().ilog2(), 9);
        let (now, later) = rest.split_at(piece);
        R::Entity::insert_many(now.iter().cloned()).exec_without_returning(connection).await?;
        rest = later;
    }
    // Every column was bound, so the rows hold the bound values.
    rows.into_iter().map(|values| values.try_into_model().map_err(StoreError::from)).collect()
}

/// The greatest size of the answer to the insert of one row, in bytes. Several rows need a
/// transaction, since their statements and the order of their locks depend on their number.
pub fn single_insert<R: Resource>(
    inserts: &[Insert<Values<R>>],
    _backend: DbBackend,
) -> Option<usize> {
    let [insert] = inserts else { return None };
    let columns = <R::Entity as EntityTrait>::Column::iter();
    let sizes = columns.map(|column| match insert.values.get(column) {
        ActiveValue::Set(value) => size_in_answer(&value),
        _ => 0,
    });
    Some(ANSWER_MARGIN + sizes.sum::<usize>())
}

/// What an answer has beside the columns' values: its etag, its times, the tags of its fields.
pub const ANSWER_MARGIN: usize = 1_024;

/// The most bytes that a value takes in an answer.
fn size_in_answer(value: &Value) -> usize {
    match value {
        Value::String(Some(text)) => text.len(),
        // A number of one digit takes about 16 bytes as google.protobuf.Value.
        Value::Json(Some(json)) => json.to_string().len() * 16,
        _ => 64,
    }
}

/// The constraint checks of inserted rows.
pub fn checks_of_insert<R: Resource>(inserts: &[Insert<Values<R>>]) -> Vec<ConstraintCheck> {
    let checks = inserts.iter().flat_map(|insert| {
        checks::<R>(&insert.values, None, |field| match field {
            "id" => insert.id_path.clone(),
            _ => format!("{}.{field}", insert.path),
        })
    });
    checks.collect()
}

/// Changes rows and returns them. Locks all in the order of their ids first.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::EtagMismatch`], [`StoreError::Invalid`] if a missing row
/// can't be inserted, [`StoreError::Constraint`].
pub async fn update<R: Resource>(
    connection: &Connection,
    changes: &[Change<Values<R>>],
) -> Result<Vec<Row<R>>, StoreError> {
    lock::<R>(connection, changes.iter().map(|change| change.id)).await?;
    let mut ordered: Vec<(usize, &Change<Values<R>>)> = changes.iter().enumerate().collect();
    if changes.iter().any(|change| change.otherwise.is_some()) {
        // Missing rows can't be locked, so they are inserted in the order of their ids. Otherwise
        // the order of the request decides which entry the error names.
        ordered.sort_by_key(|(_, change)| change.id);
    }
    let mut rows = Vec::with_capacity(changes.len());
    for (index, change) in ordered {
        rows.push((index, update_one::<R>(connection, change).await?));
    }
    rows.sort_by_key(|(index, _)| *index);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// The constraint checks of changed rows.
pub fn checks_of_update<R: Resource>(changes: &[Change<Values<R>>]) -> Vec<ConstraintCheck> {
    let checks = changes.iter().flat_map(|change| {
        let path = |field: &str| format!("{}.{field}", change.path);
        let mut all = checks::<R>(&change.values, Some(change.id), path);
        if let Some(Ok(values)) = &change.otherwise {
            let of_new = checks::<R>(values, Some(change.id), path).into_iter();
            let beside = of_new.filter(|check| all.iter().all(|other| other.field != check.field));
            let beside: Vec<ConstraintCheck> =
                beside.map(|check| ConstraintCheck { only_new: true, ..check }).collect();
            all.extend(beside);
        }
        all
    });
    checks.collect()
}

async fn update_one<R: Resource>(
    connection: &Connection,
    change: &Change<Values<R>>,
) -> Result<Row<R>, StoreError> {
    let backend = connection.get_database_backend();
    for _ in 0..ROUNDS {
        let mut rows = R::Entity::update_many()
            .set(change.values.clone())
            .col_expr(column::<R>("updated_at")?, later(backend, now(), "\"updated_at\""))
            .col_expr(column::<R>("version")?, Expr::col(Alias::new("version")).add(1))
            .filter(id_is(change.id))
            .filter(state_is(change.expected))
            .filter(is_fixed(&change.fixed))
            .exec_with_returning(connection)
            .await?;
        if let Some(row) = rows.pop() {
            return Ok(row);
        }
        let prefix = format!("{}.", change.path);
        match missed::<R>(connection, change.id, &prefix).await? {
            StoreError::NotFound { .. } => {}
            error => {
                unchanged::<R>(connection, change).await?;
                if change.expected == Expected::Any {
                    continue;
                }
                return Err(error);
            }
        }
        let values = match &change.otherwise {
            None => {
                let field = format!("{prefix}id");
                return Err(StoreError::NotFound { resource: R::NAME, id: change.id, field });
            }
            Some(_) if change.expected != Expected::Any => {
                let field = format!("{prefix}etag");
                return Err(StoreError::EtagMismatch { resource: R::NAME, id: change.id, field });
            }
            Some(Err(violations)) => return Err(StoreError::Invalid(violations.clone())),
            Some(Ok(values)) => stamped::<R>(values.clone(), now()),
        };
        let inserted = R::Entity::insert(values.clone())
            .on_conflict(OnConflict::column(Alias::new("id")).do_nothing().to_owned())
            .exec_without_returning(connection)
            .await?;
        if inserted > 0 {
            return Ok(values.try_into_model()?);
        }
    }
    Err(came_and_went())
}

/// Checks that the row has the request's values in immutable fields.
async fn unchanged<R: Resource>(
    connection: &Connection,
    change: &Change<Values<R>>,
) -> Result<(), StoreError> {
    let mut violations = Vec::new();
    for fixed in &change.fixed {
        let mut query = Query::select();
        query
            .expr(Expr::cust("1"))
            .from(R::Entity::default())
            .and_where(id_is(change.id))
            .and_where(is_fixed(std::slice::from_ref(fixed)));
        if connection.query_one(&query).await?.is_none() {
            violations.push(FieldViolation::new(
                &fixed.field,
                "never changes, and the value is another one",
            ));
        }
    }
    match violations.is_empty() {
        true => Ok(()),
        false => Err(StoreError::Invalid(violations)),
    }
}

/// Whether a row has these values.
fn is_fixed(fixed: &[Fixed]) -> SimpleExpr {
    fixed.iter().fold(Expr::cust("TRUE"), |all, fixed| {
        all.and(Expr::col(Alias::new(fixed.column)).eq(fixed.value.clone()))
    })
}

/// The attempts at a row that other callers insert and delete meanwhile.
pub(crate) const ROUNDS: usize = 3;

/// The error after those attempts. The store repeats the write.
pub fn came_and_went() -> StoreError {
    StoreError::Conflict(DbErr::Custom("the row came and went".into()))
}

/// Locks the rows of a batch in the order of their ids, so that two batches can't deadlock. One row
/// needs no lock of its own.
pub(crate) async fn lock<R: Resource>(
    connection: &Connection,
    ids: impl ExactSizeIterator<Item = Uuid>,
) -> Result<(), StoreError> {
    match ids.len() {
        0 | 1 => Ok(()),
        _ => lock_all(connection, R::FIELDS.table, "id", ids).await,
    }
}

/// Locks the rows of a table that have one of these ids in a column, in the order of the rows' own
/// ids. On SQLite it does nothing, since a transaction locks the whole file.
///
/// # Errors
/// What the database answers.
pub async fn lock_all(
    connection: &Connection,
    table: &'static str,
    column: &'static str,
    ids: impl Iterator<Item = Uuid>,
) -> Result<(), StoreError> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let ids: Vec<Uuid> = ids.collect();
    let mut query = Query::select();
    query
        .column(Alias::new("id"))
        .from(Alias::new(table))
        .and_where(column_in(connection, column, &ids))
        .order_by(Alias::new("id"), Order::Asc)
        .lock(LockType::Update);
    connection.query_all(&query).await?;
    Ok(())
}

/// Why no row was changed: it doesn't exist, or it has another state.
pub(crate) async fn missed<R: Resource>(
    connection: &Connection,
    id: Uuid,
    prefix: &str,
) -> Result<StoreError, StoreError> {
    let mut query = Query::select();
    query.column(Alias::new("version")).from(R::Entity::default()).and_where(id_is(id));
    let resource = R::NAME;
    Ok(match connection.query_one(&query).await? {
        Some(_) => StoreError::EtagMismatch { resource, id, field: format!("{prefix}etag") },
        None => StoreError::NotFound { resource, id, field: format!("{prefix}id") },
    })
}

fn checks<R: Resource>(
    values: &Values<R>,
    own: Option<Uuid>,
    path: impl Fn(&str) -> String,
) -> Vec<ConstraintCheck> {
    let checks = R::CONSTRAINTS.iter().filter_map(|constraint| {
        // Changes keep the id.
        let unused = matches!(constraint.rule, ConstraintRule::Unused { .. });
        if unused || (own.is_some() && constraint.field == "id") {
            return None;
        }
        let value = |name: &&'static str| match values.get(column::<R>(name).ok()?) {
            // NULL violates neither a unique nor a foreign key constraint.
            ActiveValue::Set(value) => (value != value.as_null()).then_some(value),
            _ => None,
        };
        let values = constraint.columns.iter().map(value).collect::<Option<Vec<_>>>()?;
        let field = path(constraint.field);
        Some(ConstraintCheck { constraint, field, values, own, only_new: false })
    });
    checks.collect()
}

/// Sets the times and the version of a new row.
pub(crate) fn stamped<R: Resource>(mut values: Values<R>, now: DateTime<Utc>) -> Values<R> {
    for (name, value) in [
        ("created_at", Value::from(now)),
        ("updated_at", Value::from(now)),
        ("version", Value::from(1_i64)),
    ] {
        if let Ok(column) = column::<R>(name) {
            values.set(column, value);
        }
    }
    values
}

/// The id of a row to be inserted.
fn id_of_values<R: Resource>(values: &Values<R>) -> Option<Uuid> {
    match column::<R>("id").map(|column| values.get(column)) {
        Ok(ActiveValue::Set(Value::Uuid(id))) => id,
        _ => None,
    }
}

/// The condition that a row has the expected state.
pub fn state_is(expected: Expected) -> SimpleExpr {
    match expected {
        Expected::Any => Expr::cust("TRUE"),
        Expected::State(version, created_at) => Expr::col(Alias::new("version"))
            .eq(version)
            .and(Expr::col(Alias::new("created_at")).eq(created_at)),
        Expected::Never => Expr::cust("FALSE"),
    }
}

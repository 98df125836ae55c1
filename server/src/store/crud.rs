//! What every resource does alike: read, insert, change and delete rows by id.

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ConnectionTrait, DbBackend, EntityTrait, IdenStatic,
    IntoActiveModel, Iterable, ModelTrait, QueryFilter, TryIntoModel, Value,
    sea_query::{Alias, Expr, ExprTrait, LockType, Order, PgFunc, Query, SimpleExpr},
};
use uuid::Uuid;

use super::{
    claim::{Claim, Constraint},
    connection::Connection,
    error::{Fault, StoreError},
    field::Fields,
};

/// A resource, as the store sees it: a table with `id`, `created_at`, `updated_at` and `version`.
pub trait Resource: Send + Sync + 'static {
    /// Its name in the singular: `book`.
    const NAME: &'static str;
    /// Its table.
    type Entity: EntityTrait<
            Model: Send + Sync + IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel>,
            ActiveModel: Send + Sync + TryIntoModel<<Self::Entity as EntityTrait>::Model>,
        >;
    /// What lists may filter and sort by.
    const FIELDS: Fields;
    /// The constraints that a caller's values can break, but for those that the contract's
    /// rules hold already.
    const CONSTRAINTS: &'static [Constraint];
}

/// A row of a resource.
pub type Row<R> = <<R as Resource>::Entity as EntityTrait>::Model;
/// The values of a row to be written.
pub type Values<R> = <<R as Resource>::Entity as EntityTrait>::ActiveModel;

/// Now, in UTC and cut to microseconds, as PostgreSQL keeps it.
#[expect(clippy::disallowed_methods, reason = "the one place that looks at the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// Which state a row must have to be changed: that of an etag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any.
    Any,
    /// This version of the row that was created at this time.
    State(i64, DateTime<Utc>),
    /// None: the etag was never given out for this row.
    Never,
}

/// A row to insert.
#[derive(Clone, Debug)]
pub struct Insert<V> {
    /// Where the request holds the resource: `book`, `requests[3].book`.
    pub path: String,
    /// Where the request gives the id, `id` or `requests[3].id`.
    pub id_path: String,
    /// All columns but the times and the version.
    pub values: V,
}

/// A row to change.
#[derive(Clone, Debug)]
pub struct Change<V> {
    /// Where the request holds the resource: `book`, `requests[3].book`.
    pub path: String,
    /// The row.
    pub id: Uuid,
    /// The state it must have.
    pub expected: Expected,
    /// The columns to change; the others are not set.
    pub values: V,
    /// What to insert if the row isn't there: all values, or why they can't be.
    pub otherwise: Option<Result<V, Vec<Fault>>>,
}

/// A row to delete.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Where the request stands: empty, or `requests[3].`.
    pub prefix: String,
    /// The row.
    pub id: Uuid,
    /// The state it must have.
    pub expected: Expected,
    /// Whether it is fine if the row isn't there.
    pub allow_missing: bool,
}

/// Reads a row.
///
/// # Errors
/// [`StoreError::NotFound`] at the field `id`.
pub async fn get<R: Resource>(connection: &Connection, id: Uuid) -> Result<Row<R>, StoreError> {
    let row = R::Entity::find().filter(id_is(id)).one(connection).await?;
    row.ok_or_else(|| StoreError::NotFound { resource: R::NAME, id, field: "id".into() })
}

/// Reads rows in one statement and answers in the order of the ids, as often as they stand there.
///
/// # Errors
/// [`StoreError::NotFound`] at `ids[n]` for the first one that is missing.
pub async fn get_many<R: Resource>(
    connection: &Connection,
    ids: &[Uuid],
) -> Result<Vec<Row<R>>, StoreError> {
    let rows = R::Entity::find().filter(id_in(connection, ids)).all(connection).await?;
    let rows: HashMap<Uuid, Row<R>> = rows.into_iter().map(|row| (id_of::<R>(&row), row)).collect();
    let answer = ids.iter().enumerate().map(|(index, id)| {
        rows.get(id).cloned().ok_or_else(|| StoreError::NotFound {
            resource: R::NAME,
            id: *id,
            field: format!("ids[{index}]"),
        })
    });
    answer.collect()
}

/// Inserts rows and answers them as they are now.
///
/// # Errors
/// [`StoreError::Constraint`], to be explained by [`claims_of_insert`].
pub async fn insert<R: Resource>(
    connection: &Connection,
    inserts: &[Insert<Values<R>>],
) -> Result<Vec<Row<R>>, StoreError> {
    let now = now();
    let rows: Vec<Values<R>> =
        inserts.iter().map(|insert| stamped::<R>(insert.values.clone(), now)).collect();
    // In pieces of 1, 2, 4 … 512 rows, so that there are ten texts to prepare and not a thousand.
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        let piece = 1 << Ord::min(rest.len().ilog2(), 9);
        let (now, later) = rest.split_at(piece);
        R::Entity::insert_many(now.iter().cloned()).exec_without_returning(connection).await?;
        rest = later;
    }
    // Every column was bound, so the rows are what was bound.
    rows.into_iter().map(|values| values.try_into_model().map_err(StoreError::from)).collect()
}

/// The values of inserted rows that constraints look at.
pub fn claims_of_insert<R: Resource>(inserts: &[Insert<Values<R>>]) -> Vec<Claim> {
    let claims = inserts.iter().flat_map(|insert| {
        claims::<R>(&insert.values, None, |field| match field {
            "id" => insert.id_path.clone(),
            _ => format!("{}.{field}", insert.path),
        })
    });
    claims.collect()
}

/// Changes rows, all locked in the order of their ids first, and answers them as they are now.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::EtagMismatch`], [`StoreError::Invalid`] where a row
/// would have to be inserted that can't be, [`StoreError::Constraint`].
pub async fn update<R: Resource>(
    connection: &Connection,
    changes: &[Change<Values<R>>],
) -> Result<Vec<Row<R>>, StoreError> {
    lock::<R>(connection, changes.iter().map(|change| change.id)).await?;
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        rows.push(update_one::<R>(connection, change).await?);
    }
    Ok(rows)
}

/// The values of changed rows that constraints look at.
pub fn claims_of_update<R: Resource>(changes: &[Change<Values<R>>]) -> Vec<Claim> {
    let claims = changes.iter().flat_map(|change| {
        let values = match &change.otherwise {
            Some(Ok(values)) => values,
            _ => &change.values,
        };
        claims::<R>(values, Some(change.id), |field| format!("{}.{field}", change.path))
    });
    claims.collect()
}

/// Deletes rows, all locked in the order of their ids first.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::EtagMismatch`], [`StoreError::Constraint`] where
/// other rows still refer to one.
pub async fn delete<R: Resource>(
    connection: &Connection,
    removals: &[Removal],
) -> Result<(), StoreError> {
    lock::<R>(connection, removals.iter().map(|removal| removal.id)).await?;
    for removal in removals {
        let statement =
            R::Entity::delete_many().filter(id_is(removal.id)).filter(state_is(removal.expected));
        if statement.exec(connection).await?.rows_affected > 0 {
            continue;
        }
        match missed::<R>(connection, removal.id, &removal.prefix, "id").await? {
            StoreError::NotFound { .. } if removal.allow_missing => {}
            error => return Err(error),
        }
    }
    Ok(())
}

async fn update_one<R: Resource>(
    connection: &Connection,
    change: &Change<Values<R>>,
) -> Result<Row<R>, StoreError> {
    // A second round is needed only if the row is inserted by another caller in between.
    for _ in 0..3 {
        let mut rows = R::Entity::update_many()
            .set(change.values.clone())
            .col_expr(column::<R>("updated_at")?, Expr::value(now()))
            .col_expr(column::<R>("version")?, Expr::col(Alias::new("version")).add(1))
            .filter(id_is(change.id))
            .filter(state_is(change.expected))
            .exec_with_returning(connection)
            .await?;
        if let Some(row) = rows.pop() {
            return Ok(row);
        }
        let prefix = format!("{}.", change.path);
        match missed::<R>(connection, change.id, &prefix, "id").await? {
            StoreError::NotFound { .. } => {}
            error => return Err(error),
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
            Some(Err(faults)) => return Err(StoreError::Invalid(faults.clone())),
            Some(Ok(values)) => stamped::<R>(values.clone(), now()),
        };
        let inserted = R::Entity::insert(values.clone())
            .on_conflict(
                sea_orm::sea_query::OnConflict::column(Alias::new("id")).do_nothing().to_owned(),
            )
            .exec_without_returning(connection)
            .await?;
        if inserted > 0 {
            return Ok(values.try_into_model()?);
        }
    }
    Err(StoreError::Conflict(sea_orm::DbErr::Custom("the row came and went".into())))
}

/// Locks rows in the order of their ids, so that two batches can't wait for each other.
/// SQLite's transactions hold the whole file already, and one row needs no order.
async fn lock<R: Resource>(
    connection: &Connection,
    ids: impl ExactSizeIterator<Item = Uuid>,
) -> Result<(), StoreError> {
    if ids.len() < 2 || connection.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let ids: Vec<Uuid> = ids.collect();
    let mut query = Query::select();
    query
        .column(Alias::new("id"))
        .from(R::Entity::default())
        .and_where(id_in(connection, &ids))
        .order_by(Alias::new("id"), Order::Asc)
        .lock(LockType::Update);
    connection.query_all(&query).await?;
    Ok(())
}

/// Why no row was changed: it isn't there, or it has another state.
async fn missed<R: Resource>(
    connection: &Connection,
    id: Uuid,
    prefix: &str,
    id_field: &str,
) -> Result<StoreError, StoreError> {
    let mut query = Query::select();
    query.column(Alias::new("version")).from(R::Entity::default()).and_where(id_is(id));
    let resource = R::NAME;
    Ok(match connection.query_one(&query).await? {
        Some(_) => StoreError::EtagMismatch { resource, id, field: format!("{prefix}etag") },
        None => StoreError::NotFound { resource, id, field: format!("{prefix}{id_field}") },
    })
}

fn claims<R: Resource>(
    values: &Values<R>,
    own: Option<Uuid>,
    path: impl Fn(&str) -> String,
) -> Vec<Claim> {
    let claims = R::CONSTRAINTS.iter().filter_map(|constraint| {
        let column = column::<R>(constraint.column.1).ok()?;
        // Rows that are changed keep their id, and NULL breaks neither kind of constraint.
        let value = match values.get(column) {
            ActiveValue::Set(value) if own.is_none() || constraint.field != "id" => value,
            _ => return None,
        };
        let field = path(constraint.field);
        (value != value.as_null()).then_some(Claim { constraint, field, value, own })
    });
    claims.collect()
}

/// A new row's times and version.
fn stamped<R: Resource>(mut values: Values<R>, now: DateTime<Utc>) -> Values<R> {
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

fn column<R: Resource>(name: &str) -> Result<<R::Entity as EntityTrait>::Column, StoreError> {
    <R::Entity as EntityTrait>::Column::iter()
        .find(|column| column.as_str() == name)
        .ok_or_else(|| StoreError::internal(format!("{} has no column {name}", R::NAME)))
}

fn id_of<R: Resource>(row: &Row<R>) -> Uuid {
    let key = <R::Entity as EntityTrait>::PrimaryKey::iter().next();
    match key.map(|key| row.get(sea_orm::PrimaryKeyToColumn::into_column(key))) {
        Some(Value::Uuid(Some(id))) => id,
        _ => Uuid::nil(),
    }
}

fn id_is(id: Uuid) -> SimpleExpr {
    Expr::col(Alias::new("id")).eq(id)
}

fn id_in(connection: &Connection, ids: &[Uuid]) -> SimpleExpr {
    column_in(connection, "id", ids)
}

/// Whether a column of ids has one of these. One text however many there are: they go as an
/// array on PostgreSQL, as JSON on SQLite.
pub fn column_in(connection: &Connection, column: &'static str, ids: &[Uuid]) -> SimpleExpr {
    match connection.get_database_backend() {
        DbBackend::Postgres => Expr::col(Alias::new(column)).eq(PgFunc::any(ids.to_vec())),
        _ => {
            let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
            let ids = serde_json::Value::from(ids).to_string();
            let text = format!(r#""{column}" IN (SELECT unhex(value) FROM json_each(?))"#);
            Expr::cust_with_values(text, [Value::from(ids)])
        }
    }
}

fn state_is(expected: Expected) -> SimpleExpr {
    match expected {
        Expected::Any => Expr::cust("TRUE"),
        Expected::State(version, created_at) => Expr::col(Alias::new("version"))
            .eq(version)
            .and(Expr::col(Alias::new("created_at")).eq(created_at)),
        Expected::Never => Expr::cust("FALSE"),
    }
}

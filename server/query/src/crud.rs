//! What every resource does alike: read, insert, change and delete rows by id.

mod columns;
mod import;
mod removal;
mod write;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bookstore_store::{Connection, Constraint, FieldViolation, StoreError};
use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, IdenStatic, IntoActiveModel,
    Iterable, ModelTrait, QueryFilter, QueryTrait, TryIntoModel, Value,
    sea_query::{Alias, Expr, ExprTrait, Order, PgFunc, SimpleExpr},
};
use uuid::Uuid;

pub use self::{
    columns::{Columns, select},
    import::{Landed, import},
    removal::{checks_of_removal, delete, lock_for_delete},
    write::{
        came_and_went, checks_of_insert, checks_of_update, insert, lock_all, state_is, update,
    },
};
use crate::field::ResourceFields;

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
    const FIELDS: ResourceFields;
    /// The columns that may hold much, named as their fields on the wire: a read whose caller
    /// wants none of them leaves them out.
    const LARGE: &'static [&'static str] = &[];
    /// The constraints that a caller's values can break, but for those that the contract's
    /// rules hold already.
    const CONSTRAINTS: &'static [Constraint];
}

/// A row of a resource.
pub type Row<R> = <<R as Resource>::Entity as EntityTrait>::Model;
/// The values of a row to be written.
pub type Values<R> = <<R as Resource>::Entity as EntityTrait>::ActiveModel;

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
    /// What must be so already, since it never changes.
    pub fixed: Vec<Fixed>,
    /// What to insert if the row isn't there: all values, or why they can't be.
    pub otherwise: Option<Result<V, Vec<FieldViolation>>>,
}

/// A value that a row must have already.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Where the request has it: `review.user_id`.
    pub field: String,
    /// Its column.
    pub column: &'static str,
    /// The value.
    pub value: Value,
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
    /// Whether rows that refer to it go with it, as far as
    /// [`ConstraintRule::Unused`](bookstore_store::ConstraintRule::Unused) lets them.
    pub force: bool,
}

/// A row to read.
#[derive(Clone, Copy, Debug)]
pub struct One {
    /// Its id.
    pub id: Uuid,
    /// What of it.
    pub columns: Columns,
}

/// Rows to read.
#[derive(Clone, Debug)]
pub struct Ids {
    /// Their ids, in the order of the answer.
    pub ids: Vec<Uuid>,
    /// What of them.
    pub columns: Columns,
    /// The most that they may be together, in bytes.
    pub most: usize,
}

/// Rows that others refer to, by their ids.
#[derive(Clone, Debug)]
pub struct FoundRows<R: Resource> {
    /// The rows; those that aren't there any more are missing.
    pub rows: HashMap<Uuid, Arc<Row<R>>>,
    /// The ids whose rows were left unread because of the size.
    pub unread: HashSet<Uuid>,
}

/// Reads a row.
///
/// # Errors
/// [`StoreError::NotFound`] at the field `id`.
pub async fn get<R: Resource>(
    connection: &Connection,
    &One { id, columns }: &One,
) -> Result<Row<R>, StoreError> {
    let select = select::<R>(connection.get_database_backend(), columns);
    let row = select.filter(id_is(id)).one(connection).await?;
    row.ok_or_else(|| StoreError::NotFound { resource: R::NAME, id, field: "id".into() })
}

/// Reads rows in one statement and answers in the order of the ids, as often as they stand
/// there.
///
/// # Errors
/// [`StoreError::NotFound`] at `ids[n]` for the first one that is missing,
/// [`StoreError::AnswerTooLarge`].
pub async fn get_many<R: Resource>(
    connection: &Connection,
    &Ids { ref ids, columns, most }: &Ids,
) -> Result<Vec<Row<R>>, StoreError> {
    let backend = connection.get_database_backend();
    let statement = select::<R>(backend, columns).filter(id_in(connection, ids)).build(backend);
    let read = connection.query_up_to(statement, most).await?;
    let too_large = |size| StoreError::AnswerTooLarge { size, limit: most };
    if read.cut {
        return Err(too_large(most.saturating_add(1)));
    }
    let mut rows = HashMap::new();
    for (row, size) in read.rows {
        let row = Row::<R>::from_query_result(&row, "")?;
        rows.insert(id_of::<R>(&row)?, (row, size));
    }
    let mut answer = Vec::with_capacity(ids.len());
    let mut total = 0;
    for (index, id) in ids.iter().enumerate() {
        let field = || format!("ids[{index}]");
        let missing = || StoreError::NotFound { resource: R::NAME, id: *id, field: field() };
        let (row, size) = rows.get(id).ok_or_else(missing)?;
        total += size;
        if total > most {
            return Err(too_large(total));
        }
        answer.push(row.clone());
    }
    Ok(answer)
}

/// Reads rows that others refer to in one statement, or in none if there are no ids: in the
/// order of the ids, each once, until they are larger than `most` together; one at least.
///
/// # Errors
/// What the database answers.
pub async fn find_many<R: Resource>(
    connection: &Connection,
    &Ids { ref ids, columns, most }: &Ids,
) -> Result<FoundRows<R>, StoreError> {
    if ids.is_empty() {
        return Ok(FoundRows { rows: HashMap::new(), unread: HashSet::new() });
    }
    let backend = connection.get_database_backend();
    let mut select = select::<R>(backend, columns).filter(id_in(connection, ids)).into_query();
    select.order_by_expr(position_in(connection, "id", ids), Order::Asc);
    let read = connection.query_up_to(backend.build(&select), most).await?;
    let mut rows = HashMap::with_capacity(read.rows.len());
    let mut last = None;
    for (row, _) in read.rows {
        let row = Row::<R>::from_query_result(&row, "")?;
        let id = id_of::<R>(&row)?;
        rows.insert(id, Arc::new(row));
        last = Some(id);
    }
    let unread = match read.cut {
        true => ids.iter().skip_while(|id| last != Some(**id)).skip(1).copied().collect(),
        false => HashSet::new(),
    };
    Ok(FoundRows { rows, unread })
}

/// A resource's column by its name.
///
/// # Errors
/// Only by a mistake in this program: a name that the table doesn't have.
pub(crate) fn column<R: Resource>(
    name: &str,
) -> Result<<R::Entity as EntityTrait>::Column, StoreError> {
    <R::Entity as EntityTrait>::Column::iter()
        .find(|column| column.as_str() == name)
        .ok_or_else(|| StoreError::internal(format!("{} has no column {name}", R::NAME)))
}

fn id_of<R: Resource>(row: &Row<R>) -> Result<Uuid, StoreError> {
    match row.get(column::<R>("id")?) {
        Value::Uuid(Some(id)) => Ok(id),
        _ => Err(StoreError::internal(format!("a {} without an id", R::NAME))),
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
            let text = format!(r#""{column}" IN (SELECT unhex(value) FROM json_each(?))"#);
            Expr::cust_with_values(text, [Value::from(as_json(ids))])
        }
    }
}

/// Where a column's id stands among these, so that rows can be read in their order.
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

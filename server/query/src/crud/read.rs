//! Reads of rows by their ids.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bookstore_store::{
    CachedStatement, Connection, RowKind, RowsById, SharedRows, StatementText, StoreError,
};
use sea_orm::{
    ConnectionTrait, DbBackend, ModelTrait, QueryFilter, QueryTrait, Value, Values,
    sea_query::{Order, SimpleExpr},
};
use uuid::Uuid;

use crate::crud::{
    columns::{Columns, select},
    ids::{column, column_in, id_is, is_one_of, position_in, value_of},
    resource::{Resource, Row},
};

/// The form of a statement that reads all columns, and of one that reads the narrow ones.
const ALL: u8 = 0;
const NARROW: u8 = 1;

/// Added to the form of a statement for one id, it is that of the same statement for many. Numbers
/// from 64 on are for the statements of resources with related rows.
pub const MANY: u8 = 128;

/// A row to read.
#[derive(Clone, Copy, Debug)]
pub struct One {
    /// Its id.
    pub id: Uuid,
    /// The columns to read.
    pub columns: Columns,
}

/// Rows to read.
#[derive(Clone, Debug)]
pub struct Ids {
    /// Their ids, in the order of the answer.
    pub ids: Vec<Uuid>,
    /// The columns to read.
    pub columns: Columns,
    /// The most bytes of all rows together.
    pub most: usize,
}

/// The rows that others refer to, by their ids.
#[derive(Clone, Debug)]
pub struct FoundRows<R: Resource> {
    /// The rows that exist.
    pub rows: HashMap<Uuid, Arc<Row<R>>>,
    /// The ids whose rows were not read because of the size.
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
    let backend = connection.get_database_backend();
    let text = StatementText::of(R::NAME, form_of::<R>(columns), backend, |backend| {
        select::<R>(backend, columns).filter(id_is(id)).build(backend).sql
    });
    let values = Values(vec![id.into()]);
    let row = connection.cached_one(CachedStatement { text, values }).await?;
    let missing = || StoreError::NotFound { resource: R::NAME, id, field: "id".into() };
    Ok(R::from_row(&row.ok_or_else(missing)?, 0)?)
}

/// The row that [`get`] reads, for [`Query::rows_by_id`](bookstore_store::Query::rows_by_id).
pub fn row_by_id<R: Resource>(One { id, columns }: &One) -> RowsById<'_> {
    let ids = std::slice::from_ref(id);
    RowsById { kind: kind_of::<R>(*columns), ids, most: usize::MAX }
}

/// What [`get`] returns, for [`Query::of_rows`](bookstore_store::Query::of_rows).
///
/// # Errors
/// [`StoreError::NotFound`] at the field `id`.
pub fn of_row<R: Resource>(one: &One, rows: &SharedRows) -> Result<Row<R>, StoreError> {
    let missing = || StoreError::NotFound { resource: R::NAME, id: one.id, field: "id".into() };
    rows.of(one.id, |rows| Ok(R::from_row(rows.first().ok_or_else(missing)?, 0)?))
}

/// The rows that [`get_many`] reads, for [`Query::rows_by_id`](bookstore_store::Query::rows_by_id).
pub fn rows_by_id<R: Resource>(Ids { ids, columns, most }: &Ids) -> RowsById<'_> {
    RowsById { kind: kind_of::<R>(*columns), ids, most: *most }
}

/// What [`get_many`] returns, for [`Query::of_rows`](bookstore_store::Query::of_rows).
///
/// # Errors
/// [`StoreError::NotFound`] at `ids[n]` for the first one that is missing.
pub fn of_rows<R: Resource>(ids: &Ids, rows: &SharedRows) -> Result<Vec<Row<R>>, StoreError> {
    let read = |(index, id): (usize, &Uuid)| {
        let field = || format!("ids[{index}]");
        let missing = || StoreError::NotFound { resource: R::NAME, id: *id, field: field() };
        rows.of(*id, |rows| Ok(R::from_row(rows.first().ok_or_else(missing)?, 0)?))
    };
    ids.ids.iter().enumerate().map(read).collect()
}

/// The error of a row that is missing in a batch of requests, where it is one alone.
pub fn at_index(error: StoreError, index: usize) -> StoreError {
    match error {
        StoreError::NotFound { resource, id, .. } => {
            StoreError::NotFound { resource, id, field: format!("ids[{index}]") }
        }
        other => other,
    }
}

fn form_of<R: Resource>(columns: Columns) -> u8 {
    match columns {
        Columns::Narrow if !R::LARGE.is_empty() => NARROW,
        _ => ALL,
    }
}

fn kind_of<R: Resource>(columns: Columns) -> RowKind {
    let form = form_of::<R>(columns);
    RowKind { resource: R::NAME, form, has_related: false, statement: rows::<R> }
}

/// The statement that reads rows by their ids.
fn rows<R: Resource>(backend: DbBackend, form: u8, ids: &[Uuid]) -> CachedStatement {
    let text = StatementText::of(R::NAME, form | MANY, backend, |backend| {
        let columns = if form == NARROW { Columns::Narrow } else { Columns::All };
        let one = is_one_of(backend, "id", &[Uuid::nil()]);
        select::<R>(backend, columns).filter(one).build(backend).sql
    });
    CachedStatement { text, values: Values(vec![value_of(backend, ids)]) }
}

/// Reads rows in one statement. Returns a row for each id, in the order of the ids.
///
/// # Errors
/// [`StoreError::NotFound`] at `ids[n]` for the first one that is missing,
/// [`StoreError::AnswerTooLarge`].
pub async fn get_many<R: Resource>(
    connection: &Connection,
    &Ids { ref ids, columns, most }: &Ids,
) -> Result<Vec<Row<R>>, StoreError> {
    let backend = connection.get_database_backend();
    let statement = rows::<R>(backend, form_of::<R>(columns), ids);
    let read = connection.cached_up_to(statement, most).await?;
    let too_large = |size| StoreError::AnswerTooLarge { size, limit: most };
    if read.cut {
        return Err(too_large(most.saturating_add(1)));
    }
    let mut rows = HashMap::new();
    for (row, size) in read.rows {
        let row = R::from_row(&row, 0)?;
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

/// Reads the rows that others refer to in one statement, each once, in the order of the ids. Stops
/// when they exceed `most` bytes together, after one row at least. Runs no statement without ids.
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
        let row = R::from_row(&row, 0)?;
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

fn id_of<R: Resource>(row: &Row<R>) -> Result<Uuid, StoreError> {
    match row.get(column::<R>("id")?) {
        Value::Uuid(Some(id)) => Ok(id),
        _ => Err(StoreError::internal(format!("a {} without an id", R::NAME))),
    }
}

fn id_in(connection: &Connection, ids: &[Uuid]) -> SimpleExpr {
    column_in(connection, "id", ids)
}

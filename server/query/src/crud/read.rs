//! Reads of rows by their ids.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bookstore_store::{Connection, RowById, RowKind, StoreError};
use sea_orm::{
    ConnectionTrait, DbBackend, FromQueryResult, ModelTrait, QueryFilter, QueryResult, QueryTrait,
    Statement, Value,
    sea_query::{Order, SimpleExpr},
};
use uuid::Uuid;

use crate::crud::{
    columns::{Columns, select},
    ids::{column, column_in, id_is, is_one_of, position_in},
    resource::{Resource, Row},
};

/// How many elements PostgreSQL expects of an array whose value it doesn't know. A plan for fewer
/// would seem cheaper, so PostgreSQL would plan the statement anew each time, in place of using its
/// generic plan (PREPARE, Notes).
const PLANNED_IDS: usize = 10;

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
    let select = select::<R>(connection.get_database_backend(), columns);
    let row = select.filter(id_is(id)).one(connection).await?;
    row.ok_or_else(|| StoreError::NotFound { resource: R::NAME, id, field: "id".into() })
}

/// The row that [`get`] reads, for [`Query::row_by_id`](bookstore_store::Query::row_by_id).
pub fn row_by_id<R: Resource>(&One { id, columns }: &One) -> RowById {
    let kind = match columns {
        Columns::Narrow if !R::LARGE.is_empty() => {
            let statement = |backend, ids: &[Uuid]| rows::<R>(backend, Columns::Narrow, ids);
            RowKind { resource: R::NAME, columns: "narrow", statement }
        }
        _ => {
            let statement = |backend, ids: &[Uuid]| rows::<R>(backend, Columns::All, ids);
            RowKind { resource: R::NAME, columns: "all", statement }
        }
    };
    RowById { kind, id }
}

/// What [`get`] returns, for [`Query::of_row`](bookstore_store::Query::of_row).
///
/// # Errors
/// [`StoreError::NotFound`] at the field `id`.
pub fn of_row<R: Resource>(one: &One, row: Option<&QueryResult>) -> Result<Row<R>, StoreError> {
    let missing = || StoreError::NotFound { resource: R::NAME, id: one.id, field: "id".into() };
    Ok(Row::<R>::from_query_result(row.ok_or_else(missing)?, "")?)
}

/// The statement that reads rows by their ids.
fn rows<R: Resource>(backend: DbBackend, columns: Columns, ids: &[Uuid]) -> Statement {
    let mut ids = ids.to_vec();
    if let (DbBackend::Postgres, Some(first)) = (backend, ids.first().copied()) {
        // A repeated id changes nothing.
        ids.resize(ids.len().max(PLANNED_IDS), first);
    }
    select::<R>(backend, columns).filter(is_one_of(backend, "id", &ids)).build(backend)
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

fn id_of<R: Resource>(row: &Row<R>) -> Result<Uuid, StoreError> {
    match row.get(column::<R>("id")?) {
        Value::Uuid(Some(id)) => Ok(id),
        _ => Err(StoreError::internal(format!("a {} without an id", R::NAME))),
    }
}

fn id_in(connection: &Connection, ids: &[Uuid]) -> SimpleExpr {
    column_in(connection, "id", ids)
}

//! Lists: a checked request for one page (AIP-158), and its rows.

use bookstore_store::{Connection, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, ModelTrait, QueryTrait, Statement, Value};

use crate::{
    crud::{self, Columns, Resource, Row},
    field::ResourceFields,
    filter::Filter,
    order::OrderBy,
    page,
    page_token::PageToken,
};

/// A checked request for one page of a list.
#[derive(Clone)]
pub struct ListQuery {
    /// The unique name of the list. A page token of another list is refused.
    pub name: &'static str,
    /// The filter.
    pub filter: Filter,
    /// The order.
    pub order: OrderBy,
    /// The sort values of the row before the page; empty for the first page.
    pub after: Vec<Value>,
    /// The number of rows to skip from there.
    pub skip: u64,
    /// The most rows of the page.
    pub limit: usize,
    /// The columns to read.
    pub columns: Columns,
    /// Whether to count all rows that the filter matches.
    pub total: Total,
    /// The key that seals the next page's token.
    pub sealing_key: [u8; 32],
}

/// Whether a list counts all rows that its filter matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// No.
    None,
    /// By the planner's figure on PostgreSQL, exactly on SQLite.
    Estimated,
    /// Exactly.
    Exact,
}

/// The rows of a page.
#[derive(Clone, Debug)]
pub struct Listed<M> {
    /// The rows, in the requested order.
    pub rows: Vec<M>,
    /// Whether more follow.
    pub more: bool,
    /// The number of rows on all pages, if the request asks for it.
    pub total: Option<i64>,
    /// The bytes of the rows' values; `None` if they have companions.
    pub bytes: Option<usize>,
}

/// The most bytes of a page: 3 MiB, since gRPC clients accept messages of 4 MiB by default.
pub const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// Reads a page in one statement, and the total in another one. The page ends before its rows exceed
/// 3 MiB.
///
/// # Errors
/// What the database answers.
pub async fn list<R: Resource>(
    connection: &Connection,
    query: &ListQuery,
) -> Result<Listed<Row<R>>, StoreError> {
    let backend = connection.get_database_backend();
    let table = R::FIELDS.table;
    let total = match (query.total, backend) {
        (Total::None, _) => None,
        (Total::Estimated, DbBackend::Postgres) => {
            Some(page::estimate(connection, table, query.filter.condition(backend)).await?)
        }
        _ => Some(page::count(connection, table, query.filter.condition(backend)).await?),
    };
    let read = connection.query_up_to(statement::<R>(backend, query), PAGE_BYTES).await?;
    let more = read.cut || read.rows.len() > query.limit;
    let bytes = Some(read.rows.iter().map(|(_, size)| size).sum());
    let rows = read.rows.iter().take(query.limit).map(|(row, _)| R::from_row(row, 0));
    Ok(Listed { rows: rows.collect::<Result<_, _>>()?, more, total, bytes })
}

/// The statement of a page.
fn statement<R: Resource>(backend: DbBackend, query: &ListQuery) -> Statement {
    let ListQuery { order, after, limit, skip, filter, columns, .. } = query;
    let mut select = crud::select::<R>(backend, *columns).into_query();
    select.cond_where(filter.condition(backend));
    page::statement(backend, select, order, after, *limit, *skip)
}

/// The list of a resource without the resource's type: its fields, and how its statements are made.
#[derive(Clone, Copy, Debug)]
pub struct ListDefinition {
    /// The fields that it filters and sorts by.
    pub fields: ResourceFields,
    statement: fn(DbBackend, &ListQuery) -> Statement,
}

impl ListDefinition {
    /// The list of a resource.
    pub const fn of<R: Resource>() -> Self {
        Self { fields: R::FIELDS, statement: statement::<R> }
    }

    /// The statement of a page. The related rows of its rows are read by further statements.
    pub fn statement(&self, backend: DbBackend, query: &ListQuery) -> Statement {
        (self.statement)(backend, query)
    }
}

impl<M> Listed<M> {
    /// Pairs each row with its companion. The page ends with the companions.
    pub fn beside<C>(self, companions: Vec<C>) -> Listed<(M, C)> {
        let Self { rows, more, total, .. } = self;
        let more = more || companions.len() < rows.len();
        Listed { rows: rows.into_iter().zip(companions).collect(), more, total, bytes: None }
    }

    /// Pairs each row with an empty companion.
    pub fn alone<C: Default>(self) -> Listed<(M, C)> {
        let Self { rows, more, total, bytes } = self;
        let rows = rows.into_iter().map(|row| (row, C::default())).collect();
        Listed { rows, more, total, bytes }
    }
}

impl ListQuery {
    /// A row's position in the list: its sort values and its id.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the table lacks a column of the order: a defect of this program.
    pub fn place_of<R: Resource>(&self, row: &Row<R>) -> Result<Vec<Value>, StoreError> {
        let columns = self.order.columns().iter();
        columns.map(|it| Ok(row.get(crud::column::<R>(it.field.column)?))).collect()
    }

    /// The token of the page after a position.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the values don't fit the order: a defect of this program.
    pub fn token_behind(&self, place: &[Value]) -> Result<String, StoreError> {
        PageToken::seal(&self.sealing_key, self.name, &self.filter, &self.order, place)
            .map_err(|error| StoreError::internal(error.to_string()))
    }
}

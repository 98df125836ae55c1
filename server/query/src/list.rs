//! Lists: a checked request for one page, and the rows that answer it.

use bookstore_store::{Connection, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, ModelTrait, QueryTrait, Value};

use crate::{
    crud::{self, Columns, Resource, Row},
    filter::Filter,
    order::OrderBy,
    page,
    page_token::PageToken,
};

/// One page of a list, asked for.
#[derive(Clone)]
pub struct ListQuery {
    /// Which list it is: no other one has the name, nor takes its tokens.
    pub name: &'static str,
    /// Which rows.
    pub filter: Filter,
    /// In which order.
    pub order: OrderBy,
    /// The sort values of the row before the page; none for the first one.
    pub after: Vec<Value>,
    /// How many rows to pass over from there.
    pub skip: u64,
    /// The most rows to answer.
    pub limit: usize,
    /// What of each row.
    pub columns: Columns,
    /// Whether to count all rows that the filter matches.
    pub total: Total,
    /// Seals the next page's token.
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
    /// The rows, in the order asked for.
    pub rows: Vec<M>,
    /// Whether more follow.
    pub more: bool,
    /// How many there are on all pages together, if that was asked for.
    pub total: Option<i64>,
}

/// The most bytes of a page, as its rows are read and as it is answered: clients take 4 MiB by
/// default.
pub const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// Reads a page: one statement, and one more for the total, however many rows. It also ends
/// before its rows are larger than 3 MiB.
///
/// # Errors
/// What the database answers.
pub async fn list<R: Resource>(
    connection: &Connection,
    query: &ListQuery,
) -> Result<Listed<Row<R>>, StoreError> {
    let backend = connection.get_database_backend();
    let condition = query.filter.condition(backend);
    let table = R::FIELDS.table;
    let total = match (query.total, backend) {
        (Total::None, _) => None,
        (Total::Estimated, DbBackend::Postgres) => {
            Some(page::estimate(connection, table, condition.clone()).await?)
        }
        _ => Some(page::count(connection, table, condition.clone()).await?),
    };
    let mut select = crud::select::<R>(backend, query.columns).into_query();
    select.cond_where(condition);
    let ListQuery { order, after, limit, skip, .. } = query;
    let statement = page::statement(backend, select, order, after, *limit, *skip);
    let read = connection.query_up_to(statement, PAGE_BYTES).await?;
    let more = read.cut || read.rows.len() > *limit;
    let rows = read.rows.iter().take(*limit).map(|(row, _)| Row::<R>::from_query_result(row, ""));
    Ok(Listed { rows: rows.collect::<Result<_, _>>()?, more, total })
}

impl<M> Listed<M> {
    /// Puts beside each row what belongs to it. The page ends where that does.
    pub fn beside<C>(self, companions: Vec<C>) -> Listed<(M, C)> {
        let Self { rows, more, total } = self;
        let more = more || companions.len() < rows.len();
        Listed { rows: rows.into_iter().zip(companions).collect(), more, total }
    }
}

impl ListQuery {
    /// A row's place in the list: its sort values and its id.
    ///
    /// # Errors
    /// Only by a mistake in this program: an order over a column that isn't there.
    pub fn place_of<R: Resource>(&self, row: &Row<R>) -> Result<Vec<Value>, StoreError> {
        let columns = self.order.columns().iter();
        columns.map(|it| Ok(row.get(crud::column::<R>(it.field.column)?))).collect()
    }

    /// The token of the page behind a place.
    ///
    /// # Errors
    /// Only by a mistake in this program: an order over values that can't be sealed.
    pub fn token_behind(&self, place: &[Value]) -> Result<String, StoreError> {
        PageToken::seal(&self.sealing_key, self.name, &self.filter, &self.order, place)
            .map_err(|error| StoreError::internal(error.to_string()))
    }
}

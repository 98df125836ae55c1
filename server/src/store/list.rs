//! Lists: a checked request for one page, and the rows that answer it.

use sea_orm::{ConnectionTrait, EntityTrait, Iterable, ModelTrait, QueryTrait, Value};

use super::{
    connection::Connection,
    crud::{Resource, Row},
    error::StoreError,
    filter::Filter,
    order::Order,
    page,
    page_token::{PageToken, TokenError},
};

/// One page of a list, asked for.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Which rows.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// The sort values of the row before the page; none for the first one.
    pub after: Vec<Value>,
    /// How many rows to pass over from there.
    pub skip: u64,
    /// The most rows to answer.
    pub limit: usize,
    /// Whether to count all rows that the filter matches.
    pub total: bool,
    /// Seals the next page's token.
    pub sealing_key: [u8; 32],
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

/// Reads a page: one statement, and one more for the total, however many rows.
///
/// # Errors
/// What the database answers.
pub async fn list<R: Resource>(
    connection: &Connection,
    query: &ListQuery,
) -> Result<Listed<Row<R>>, StoreError> {
    let condition = query.filter.condition(connection.get_database_backend());
    let mut select = R::Entity::find().into_query();
    select.cond_where(condition.clone());
    let ListQuery { order, after, limit, skip, .. } = query;
    let page = page::fetch(connection, select, order, after, *limit, *skip).await?;
    let total = match query.total {
        true => Some(page::count(connection, R::FIELDS.table, condition).await?),
        false => None,
    };
    Ok(Listed { rows: page.rows, more: page.more, total })
}

impl ListQuery {
    /// The token of the page behind a row.
    ///
    /// # Errors
    /// Only by a mistake in this program: an order over values that can't be sealed.
    pub fn token_behind<R: Resource>(&self, row: &Row<R>) -> Result<String, TokenError> {
        let value = |column: &super::order::Column| {
            let mut columns = <R::Entity as EntityTrait>::Column::iter();
            let column = columns.find(|c| sea_orm::IdenStatic::as_str(c) == column.field.column)?;
            Some(row.get(column))
        };
        let values: Option<Vec<Value>> = self.order.columns().iter().map(value).collect();
        let values = values.ok_or(TokenError::WrongValues)?;
        PageToken::seal(&self.sealing_key, R::NAME, &self.filter, &self.order, &values)
    }
}

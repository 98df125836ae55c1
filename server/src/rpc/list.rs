//! The common parts of every List: the request's page, filter and order, and the next page's token.

use bookstore_proto::v1::TotalSizeMode;
use bookstore_query::{
    Resource,
    crud::{Columns, Row},
    filter::Filter,
    list::{ListQuery, Listed, PAGE_BYTES, Total},
    order::OrderBy,
    page_token::PageToken,
};
use bookstore_store::StoreError;
use prost::Message;

use super::{check::Check, standard::Standard};

/// The page size of a request that names none.
const DEFAULT_PAGE: usize = 50;

/// The greatest page; larger sizes mean this one.
const LARGEST_PAGE: usize = 1_000;

/// How many times larger than its row's values a message is at most. JSON grows most: `0,` becomes a
/// message of 11 bytes.
const GROWTH: usize = 16;

/// How a caller gets to a page that is deeper than the largest skip.
const DEEPER: &str = "for deeper pages follow next_page_token, from which skip counts, or begin at a \
                      value with a filter, such as create_time < \"2026-01-01T00:00:00Z\"";

/// The fields that every List request has.
pub struct ListFields {
    /// `page_size`.
    pub page_size: i32,
    /// `page_token`.
    pub page_token: String,
    /// `skip`.
    pub skip: i32,
    /// `filter`.
    pub filter: String,
    /// `order_by`.
    pub order_by: String,
    /// `total_size_mode`.
    pub total_size_mode: i32,
}

/// Checks a List request. Violations name `filter`, `order_by` and `page_token`.
pub fn query<R: Resource>(
    check: &mut Check<'_>,
    name: &'static str,
    fields: ListFields,
    columns: Columns,
) -> Option<ListQuery> {
    if fields.skip > 0 {
        check.advise("skip", DEEPER);
    }
    // A field that the contract's rules refused gets no second violation.
    let mut violation = |field: &str, description: String| {
        if !check.has_violation(field) {
            check.violation(field, description);
        }
    };
    let filter = Filter::parse(&fields.filter, &R::FIELDS);
    let filter = filter.map_err(|description| violation("filter", description.to_string())).ok();
    let order = OrderBy::parse(&fields.order_by, &R::FIELDS);
    let order = order.map_err(|description| violation("order_by", description.to_string())).ok();
    let (filter, order) = (filter?, order?);
    let after = match fields.page_token.as_str() {
        "" => Vec::new(),
        token => PageToken::open(&check.page_key(), token, name, &filter, &order)
            .map_err(|description| check.violation("page_token", description.to_string()))
            .ok()?,
    };
    Some(ListQuery {
        name,
        filter,
        order,
        after,
        skip: u64::try_from(fields.skip).ok()?,
        limit: page_size(fields.page_size)?,
        columns,
        total: match TotalSizeMode::try_from(fields.total_size_mode) {
            Ok(TotalSizeMode::Estimated) => Total::Estimated,
            Ok(TotalSizeMode::Exact) => Total::Exact,
            Ok(TotalSizeMode::Unspecified | TotalSizeMode::None) | Err(_) => Total::None,
        },
        sealing_key: check.page_key(),
    })
}

/// The number of rows of a request's `page_size`; none if the contract's rules refuse it.
pub(super) fn page_size(asked: i32) -> Option<usize> {
    match usize::try_from(asked).ok()? {
        0 => Some(DEFAULT_PAGE),
        size => Some(size.min(LARGEST_PAGE)),
    }
}

/// A page as messages.
pub struct Page<M> {
    /// The resources.
    pub messages: Vec<M>,
    /// Where the next page begins; empty at the end.
    pub next_page_token: String,
    /// How many there are on all pages together, if that was asked for.
    pub total_size: Option<i64>,
}

/// A page of rows as messages.
///
/// # Errors
/// As [`page_of`].
pub fn page<R: Standard>(
    query: &ListQuery,
    listed: Listed<Row<R>>,
) -> Result<Page<R::Message>, StoreError> {
    page_of::<R, _, _>(query, listed.alone(), |row, ()| R::message(row))
}

/// A page as messages, each of a row and what belongs to it: as many as fit, and where the
/// next page begins.
///
/// # Errors
/// Only by an error of this program: a row without a position in the order.
pub fn page_of<R: Resource, C, M: Message>(
    query: &ListQuery,
    listed: Listed<(Row<R>, C)>,
    message: impl Fn(Row<R>, C) -> M,
) -> Result<Page<M>, StoreError> {
    let Listed { rows, mut more, total: total_size, bytes } = listed;
    // Then no message is counted, and only the last row's position is needed.
    let fits = bytes.is_some_and(|bytes| bytes.saturating_mul(GROWTH) < PAGE_BYTES);
    let count = rows.len();
    let mut messages = Vec::with_capacity(count);
    let mut size = 0;
    let mut last = None;
    for (index, (row, companion)) in rows.into_iter().enumerate() {
        let ends = index + 1 == count;
        let place = if ends || !fits { Some(query.place_of::<R>(&row)?) } else { None };
        let message = message(row, companion);
        if !fits {
            size += message.encoded_len();
            if size > PAGE_BYTES && last.is_some() {
                more = true;
                break;
            }
        }
        messages.push(message);
        last = place;
    }
    let next_page_token = match last.filter(|_| more) {
        Some(place) => query.token_behind(&place)?,
        None => String::new(),
    };
    Ok(Page { messages, next_page_token, total_size })
}

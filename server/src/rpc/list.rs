//! What every List has in common: the request's page, filter and order, and the page's end.

use bookstore_proto::v1::TotalSizeMode;
use prost::Message;

use super::{check::Check, standard::Standard};
use crate::store::{
    Resource, StoreError,
    crud::{Columns, Row},
    filter::Filter,
    list::{ListQuery, Listed, Total},
    order::Order,
    page_token::PageToken,
};

/// The page size of a request that names none.
const DEFAULT_PAGE: usize = 50;

/// The greatest page; larger sizes mean this one.
const LARGEST_PAGE: usize = 1_000;

/// A page also ends before it is larger than this, in bytes: clients take 4 MiB by default.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// The fields that every List request has.
pub struct Fields {
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

/// Checks a List request. Noted faults name `filter`, `order_by` and `page_token`.
pub fn query<R: Resource>(
    check: &mut Check<'_>,
    name: &'static str,
    fields: Fields,
    columns: Columns,
) -> Option<ListQuery> {
    // What the contract's rules refused already needs no second reason.
    let mut fault = |field: &str, told: String| {
        if !check.is_faulty(field) {
            check.fault(field, told);
        }
    };
    let filter = Filter::parse(&fields.filter, &R::FIELDS);
    let filter = filter.map_err(|told| fault("filter", told.to_string())).ok();
    let order = Order::parse(&fields.order_by, &R::FIELDS);
    let order = order.map_err(|told| fault("order_by", told.to_string())).ok();
    let (filter, order) = (filter?, order?);
    let after = match fields.page_token.as_str() {
        "" => Vec::new(),
        token => PageToken::open(check.sealing_key, token, name, &filter, &order)
            .map_err(|told| check.fault("page_token", told.to_string()))
            .ok()?,
    };
    let limit = match usize::try_from(fields.page_size).ok()? {
        0 => DEFAULT_PAGE,
        size => size.min(LARGEST_PAGE),
    };
    Some(ListQuery {
        name,
        filter,
        order,
        after,
        skip: u64::try_from(fields.skip).ok()?,
        limit,
        columns,
        total: match TotalSizeMode::try_from(fields.total_size_mode) {
            Ok(TotalSizeMode::Estimated) => Total::Estimated,
            Ok(TotalSizeMode::Exact) => Total::Exact,
            Ok(TotalSizeMode::Unspecified | TotalSizeMode::None) | Err(_) => Total::None,
        },
        sealing_key: *check.sealing_key,
    })
}

/// A page as the wire has it.
pub struct Page<M> {
    /// The resources.
    pub messages: Vec<M>,
    /// Where the next page begins; empty at the end.
    pub next_page_token: String,
    /// How many there are on all pages together, if that was asked for.
    pub total_size: Option<i64>,
}

/// A page as messages: as many rows as fit, and where the next page begins.
///
/// # Errors
/// Only by a mistake in this program: a row without a place in the order.
pub fn page<R: Standard>(
    query: &ListQuery,
    listed: Listed<Row<R>>,
) -> Result<Page<R::Message>, StoreError> {
    page_of::<R, _>(query, listed, |row| Some(R::message(row)))
}

/// The same, where a row is answered with what belongs to it: `message` puts them together,
/// and is none at the first row of which not everything was read. The page ends before it.
///
/// # Errors
/// Only by a mistake in this program: a row without a place in the order, or nothing read of
/// what belongs to the first one.
pub fn page_of<R: Resource, M: Message>(
    query: &ListQuery,
    listed: Listed<Row<R>>,
    mut message: impl FnMut(Row<R>) -> Option<M>,
) -> Result<Page<M>, StoreError> {
    let Listed { rows, mut more, total: total_size } = listed;
    let mut messages = Vec::with_capacity(rows.len());
    let mut size = 0;
    let mut last = None;
    for row in rows {
        let place = query.place_of::<R>(&row)?;
        let fits = message(row).filter(|message| {
            size += message.encoded_len();
            size <= PAGE_BYTES || last.is_none()
        });
        let Some(message) = fits else {
            more = true;
            break;
        };
        messages.push(message);
        last = Some(place);
    }
    let next_page_token = match last {
        Some(place) if more => query.token_behind(&place)?,
        None if more => return Err(StoreError::internal("a page without its first row")),
        _ => String::new(),
    };
    Ok(Page { messages, next_page_token, total_size })
}

//! Orders with their items, read in one statement.

use bookstore_query::{
    Resource,
    crud::{self, Columns, Ids, MANY, One, columns_of, is_asked_for, with_related},
    list::PAGE_BYTES,
};
use bookstore_store::{CachedStatement, RowKind, RowsById, SharedRows, StatementText, StoreError};
use chrono::{DateTime, Utc};
use sea_orm::{DbBackend, FromQueryResult, QueryResult, Values};
use uuid::Uuid;

use super::{
    Order,
    placed::{OrderItemRow, WithItems},
};

/// The form of the statement. Numbers from 64 on are for those with related rows.
const WHOLE: u8 = 64;

/// The most bytes of an order's rows that are read, with the columns that only keep their order.
pub(super) const MOST: usize = 3 * PAGE_BYTES;

/// The bytes of so many rows, as a page of orders counts items.
pub(super) fn items(rows: usize) -> usize {
    // A place, an id, a quantity and a price.
    rows * (8 + 16 + 4 + 8)
}

/// The columns of an item, behind the prefix `r_`.
const ITEM: [&str; 5] = ["id", "created_at", "book_id", "quantity", "price_micros"];

const KIND: RowKind = RowKind {
    resource: Order::NAME,
    form: WHOLE,
    has_related: true,
    statement: |backend, form, ids| {
        let text = StatementText::of(Order::NAME, form | MANY, backend, |it| text(it, true));
        CachedStatement { text, values: Values(vec![crud::value_of(backend, ids)]) }
    },
};

/// The statement for one order.
pub(super) fn for_one(backend: DbBackend, id: Uuid) -> CachedStatement {
    let text = StatementText::of(Order::NAME, WHOLE, backend, |it| text(it, false));
    CachedStatement { text, values: Values(vec![id.into()]) }
}

/// The order, for [`Query::rows_by_id`](bookstore_store::Query::rows_by_id).
pub(super) fn by_id(one: &One) -> RowsById<'_> {
    RowsById { kind: KIND, ..crud::row_by_id::<Order>(one) }
}

/// The order, for [`Query::of_rows`](bookstore_store::Query::of_rows).
///
/// # Errors
/// [`StoreError::NotFound`] at the field `id`.
pub(super) fn of_rows(one: &One, rows: &SharedRows) -> Result<WithItems, StoreError> {
    rows.of(one.id, |rows| read(one.id, rows))
}

/// The orders, for [`Query::rows_by_id`](bookstore_store::Query::rows_by_id).
pub(super) fn many_by_id(ids: &Ids) -> RowsById<'_> {
    RowsById { kind: KIND, ..crud::rows_by_id::<Order>(ids) }
}

/// The orders, for [`Query::of_rows`](bookstore_store::Query::of_rows).
///
/// # Errors
/// [`StoreError::NotFound`] at `ids[n]` for the first one that is missing.
pub(super) fn of_many_rows(ids: &Ids, rows: &SharedRows) -> Result<Vec<WithItems>, StoreError> {
    let read = |(index, id): (usize, &Uuid)| {
        let order = rows.of(*id, |rows| read(*id, rows));
        order.map_err(|error| crud::at_index(error, index))
    };
    ids.ids.iter().enumerate().map(read).collect()
}

fn text(backend: DbBackend, many: bool) -> String {
    let own = columns_of::<Order>(backend, Columns::All, "o", "");
    let from = format!(r#""orders" AS o WHERE {}"#, is_asked_for(backend, r#"o."id""#, many));
    let item = ITEM.map(|name| (format!(r#"r."{name}""#), format!("r_{name}")));
    let asked = is_asked_for(backend, r#"r."order_id""#, many);
    let from_items = format!(r#""order_items" AS r WHERE {asked}"#);
    with_related((&own, &from), (&item, r#"r."order_id""#, &from_items))
}

/// Makes an order of the rows that were read for it. Its items are in the order of their creation.
///
/// # Errors
/// [`StoreError::NotFound`] at the field `id`.
pub(super) fn read(id: Uuid, rows: &[QueryResult]) -> Result<WithItems, StoreError> {
    let (mut order, mut items) = (None, Vec::new());
    for row in rows {
        match row.try_get::<Option<Uuid>>("", "r_id")? {
            None => order = Some(Order::from_row(row, 0)?),
            Some(id) => {
                let created_at: DateTime<Utc> = row.try_get("", "r_created_at")?;
                items.push(((created_at, id), OrderItemRow::from_query_result(row, "r_")?));
            }
        }
    }
    let missing = || StoreError::NotFound { resource: Order::NAME, id, field: "id".into() };
    items.sort_unstable_by_key(|(place, _)| *place);
    Ok((order.ok_or_else(missing)?, items.into_iter().map(|(_, item)| item).collect()))
}

//! What happens to orders: reads over checked values. An order is always read with its items,
//! which never change.

use bookstore_entity::{order::Model, order_item};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::Order;
use crate::store::{
    Connection, StoreError,
    children::children,
    crud::{self, Ids, One},
    list::{self, ListQuery, Listed, PAGE_BYTES},
    queries,
};

/// An order's row with its items.
pub type WithItems = (Model, Vec<Item>);

queries! {
    /// Reads one order.
    GetOrder(One) -> WithItems = get;
    /// Reads many orders by their ids.
    GetOrders(Ids) -> Vec<WithItems> = get_many;
    /// Reads a page of the list.
    ListOrders(ListQuery) -> Listed<WithItems> = list;
}

/// A book of an order.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Item {
    /// The book.
    pub book_id: Uuid,
    /// How many copies.
    pub quantity: i32,
    /// What one cost, in micros of the order's currency.
    pub price_micros: i64,
}

const ITEM: [order_item::Column; 3] =
    [order_item::Column::BookId, order_item::Column::Quantity, order_item::Column::PriceMicros];

async fn get(connection: &Connection, one: &One) -> Result<WithItems, StoreError> {
    let order = crud::get::<Order>(connection, one).await?;
    let mut items = items(connection, std::slice::from_ref(&order), PAGE_BYTES).await?;
    Ok((order, items.pop().unwrap_or_default()))
}

async fn get_many(connection: &Connection, ids: &Ids) -> Result<Vec<WithItems>, StoreError> {
    let orders = crud::get_many::<Order>(connection, ids).await?;
    let items = items(connection, &orders, ids.most).await?;
    match items.len() < orders.len() {
        true => {
            let size = ids.most.saturating_add(1);
            Err(StoreError::AnswerTooLarge { size, limit: ids.most })
        }
        false => Ok(orders.into_iter().zip(items).collect()),
    }
}

async fn list(connection: &Connection, query: &ListQuery) -> Result<Listed<WithItems>, StoreError> {
    let listed = list::list::<Order>(connection, query).await?;
    let items = items(connection, &listed.rows, PAGE_BYTES).await?;
    Ok(listed.beside(items))
}

/// The items of each order, for as many orders as fit.
async fn items(
    connection: &Connection,
    orders: &[Model],
    most: usize,
) -> Result<Vec<Vec<Item>>, StoreError> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    let parent = order_item::Column::OrderId;
    children::<order_item::Entity, _>(connection, parent, &ITEM, &ids, most).await
}

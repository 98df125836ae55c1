//! Orders and their items in the operations: to be placed, and placed.

use bookstore_entity::order::Model;
use sea_orm::FromQueryResult;
use uuid::Uuid;

/// An order to place.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// Its id.
    pub id: Uuid,
    /// The request's field with the id: `id`, `order_id`.
    pub id_field: &'static str,
    /// The user.
    pub user_id: Uuid,
    /// The shipping address.
    pub shipping_address: String,
}

/// A book to order; an order has each book once.
#[derive(Clone, Copy, Debug)]
pub struct OrderLine {
    /// The book.
    pub book_id: Uuid,
    /// How many copies.
    pub quantity: i32,
}

/// A book of an order.
#[derive(Clone, Debug, FromQueryResult)]
pub struct OrderItemRow {
    /// The book.
    pub book_id: Uuid,
    /// How many copies.
    pub quantity: i32,
    /// The price of a copy, in micros of the order's currency.
    pub price_micros: i64,
}

/// An order's row with its items.
pub type WithItems = (Model, Vec<OrderItemRow>);

//! One SeaORM entity per table, and beside it what an entity can't express: see [`schema`].
//!
//! Times are UTC and exact to a microsecond, ids are UUIDs, money is whole
//! micros; `version` counts the changes of a row from 1.

pub mod book;
pub mod cart;
pub mod cart_item;
pub mod category;
pub mod idempotency_key;
pub mod item;
pub mod order;
pub mod order_item;
pub mod post;
pub mod review;
pub mod schema;
pub mod sealing_key;
pub mod user;
pub mod words;

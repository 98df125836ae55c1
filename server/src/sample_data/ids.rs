//! The ids of the sample rows: the number of a row after the first id of its resource.

use uuid::Uuid;

/// The fewest books. The sample reviews, carts and orders are of the first ones.
pub const FEWEST_BOOKS: u32 = 50;

/// The first ids, to which the number of a row is added. The schema brings the categories 1 to 5.
pub(super) const CATEGORY: u128 = 0x0193_0000_0000_7000_8000_0000_0000_0000;
pub(super) const BOOK: u128 = CATEGORY + 0x1_0000;
pub(super) const USER: u128 = CATEGORY + 0x3_0000;
pub(super) const ORDER: u128 = CATEGORY + 0x4_0000;
pub(super) const REVIEW: u128 = CATEGORY + 0x5_0000;
pub(super) const POST: u128 = CATEGORY + 0x6_0000;
pub(super) const ITEM: u128 = CATEGORY + 0x7_0000;
pub(super) const CART: u128 = CATEGORY + 0x8_0000;
pub(super) const CART_ITEM: u128 = CATEGORY + 0x9_0000;
/// Books from number 61,440 on, so that they keep clear of the ids of other resources and of those
/// that the documents use.
const MORE_BOOKS: u128 = CATEGORY + 0x1000_0000;

/// The id of row number n.
pub(super) fn id(first: u128, n: u128) -> String {
    uuid(first, n).to_string()
}

pub(super) fn uuid(first: u128, n: u128) -> Uuid {
    let first = if first == BOOK && n >= 0xF000 { MORE_BOOKS } else { first };
    Uuid::from_u128(first + n)
}

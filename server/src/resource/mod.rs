//! The resources, one folder each, and the list of them.

pub mod book;
pub mod book_transfer;
pub mod cart;
pub mod category;
mod entry;
pub mod item;
pub mod order;
pub mod post;
pub mod review;
pub mod user;

pub use self::entry::Entry;

/// Every resource.
pub const RESOURCES: &[Entry] = &[
    book::ENTRY,
    book_transfer::ENTRY,
    cart::ENTRY,
    category::ENTRY,
    item::ENTRY,
    order::ENTRY,
    post::ENTRY,
    review::ENTRY,
    user::ENTRY,
];

//! The lists of a history: books whose descriptions contain the values that callers append.

use bookstore_proto::v1::Book;

/// Concurrent callers.
pub(super) const CALLERS: u32 = 8;

/// The lists in use at a time.
pub(super) const LISTS: u32 = 4;

/// The number of transactions until the next list is used.
pub(super) const EACH: u32 = 100;

/// The values of a list.
pub(super) fn values(book: &Book) -> Vec<u64> {
    let text = book.description.as_deref().unwrap_or_default();
    text.split_whitespace().map(|value| value.parse().expect("a value")).collect()
}

/// The id of the book that is a list.
pub(super) fn id(list: u32) -> String {
    format!("0195a000-0000-4000-8000-{list:012x}")
}

//! The released revisions, a file each, named as it is called.

mod m20261121_000001_create_sealing_keys;
mod m20261121_000002_create_categories;
mod m20261121_000003_create_books;
mod m20261121_000004_create_items;
mod m20261121_000005_create_users;
mod m20261121_000006_create_posts;
mod m20261121_000007_create_reviews;
mod m20261121_000008_create_carts;
mod m20261121_000009_create_orders;
mod m20261121_000020_create_idempotency_keys;
mod m20261121_000030_index_words_of_books;
mod m20261125_000001_create_timeline_history;
mod m20261127_000001_grant_tables_by_name;
mod m20261127_000010_index_items_by_book;
mod m20261127_000011_find_words_without_accents;
mod m20261127_000012_make_names_and_addresses_optional;
mod m20261127_000013_index_words_of_users;

use crate::revision::Revision;

/// The revisions, oldest first. Each names the one that it follows.
pub fn revisions() -> Vec<Revision> {
    vec![
        m20261121_000001_create_sealing_keys::revision(),
        m20261121_000002_create_categories::revision(),
        m20261121_000003_create_books::revision(),
        m20261121_000004_create_items::revision(),
        m20261121_000005_create_users::revision(),
        m20261121_000006_create_posts::revision(),
        m20261121_000007_create_reviews::revision(),
        m20261121_000008_create_carts::revision(),
        m20261121_000009_create_orders::revision(),
        m20261121_000020_create_idempotency_keys::revision(),
        m20261121_000030_index_words_of_books::revision(),
        m20261125_000001_create_timeline_history::revision(),
        m20261127_000001_grant_tables_by_name::revision(),
        m20261127_000010_index_items_by_book::revision(),
        m20261127_000011_find_words_without_accents::revision(),
        m20261127_000012_make_names_and_addresses_optional::revision(),
        m20261127_000013_index_words_of_users::revision(),
    ]
}

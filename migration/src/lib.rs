//! The schema as a list of reversible migrations, the same for both engines.
//!
//! One file an act, never edited once released; each runs in a transaction of
//! its own, together with the row that records it.

pub mod catalog;
pub mod check;
pub mod drift;
pub mod expression;
mod sql;
pub mod tool;

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

use sea_orm_migration::{MigrationTrait, MigratorTrait, async_trait};

/// The migrations, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_sealing_keys::Migration),
            Box::new(m20261121_000002_create_categories::Migration),
            Box::new(m20261121_000003_create_books::Migration),
            Box::new(m20261121_000004_create_items::Migration),
            Box::new(m20261121_000005_create_users::Migration),
            Box::new(m20261121_000006_create_posts::Migration),
            Box::new(m20261121_000007_create_reviews::Migration),
            Box::new(m20261121_000008_create_carts::Migration),
            Box::new(m20261121_000009_create_orders::Migration),
            Box::new(m20261121_000020_create_idempotency_keys::Migration),
            Box::new(m20261121_000030_index_words_of_books::Migration),
            Box::new(m20261125_000001_create_timeline_history::Migration),
        ]
    }
}

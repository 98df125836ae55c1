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

#[cfg(test)]
mod tests {
    use bookstore_query::Resource;
    use sea_orm::{EntityTrait, IdenStatic, Iterable};

    fn check<R: Resource>() {
        let columns = <R::Entity as EntityTrait>::Column::iter();
        let columns: Vec<_> = columns.map(|column| column.as_str()).collect();
        assert_eq!(columns, R::IN_ORDER, "{}", R::NAME);
    }

    #[test]
    fn columns_are_found_at_their_places() {
        check::<super::book::Book>();
        check::<super::cart::Cart>();
        check::<super::category::Category>();
        check::<super::item::Item>();
        check::<super::order::Order>();
        check::<super::post::Post>();
        check::<super::review::Review>();
        check::<super::user::User>();
    }
}

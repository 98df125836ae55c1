//! The reads and writes of items, with checked values.

use bookstore_entity::item::{ActiveModel, Model};
use bookstore_query::{
    crud::{self, Change, Ids, Insert, One, Removal},
    list::{self, ListQuery, Listed},
};

use super::Item;
use crate::rpc::stamp::{operations, queries};

queries! {
    /// Reads one item.
    GetItem(One) -> Model = crud::get::<Item>, crud::row_by_id::<Item>, crud::of_row::<Item>;
    /// Reads many items by their ids.
    GetItems(Ids) -> Vec<Model> = crud::get_many::<Item>, crud::rows_by_id::<Item>, crud::of_rows::<Item>;
    /// Reads a page of the list.
    ListItems(ListQuery) -> Listed<Model> = list::list::<Item>;
}

operations! {
    /// Creates items.
    CreateItems(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Item>, crud::checks_of_insert::<Item>, crud::single_insert::<Item>;
    /// Changes items.
    UpdateItems(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Item>, crud::checks_of_update::<Item>;
    /// Deletes items.
    DeleteItems(Vec<Removal>) -> () = crud::delete::<Item>, crud::checks_of_removal::<Item>, crud::single_delete::<Item>;
}

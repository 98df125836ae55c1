//! What happens to books: reads and writes over checked values.

use bookstore_entity::book::{ActiveModel, Model};
use uuid::Uuid;

use super::Book;
use crate::store::{
    crud::{self, Change, Ids, Insert, Removal},
    list::{self, ListQuery, Listed},
    operations, queries,
};

queries! {
    /// Reads one book.
    GetBook(Uuid) -> Model = crud::get::<Book>;
    /// Reads many books by their ids.
    GetBooks(Ids) -> Vec<Model> = crud::get_many::<Book>;
    /// Reads a page of the list.
    ListBooks(ListQuery) -> Listed<Model> = list::list::<Book>;
}

operations! {
    /// Creates books.
    CreateBooks(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Book>, crud::claims_of_insert::<Book>;
    /// Changes books.
    UpdateBooks(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Book>, crud::claims_of_update::<Book>;
    /// Deletes books.
    DeleteBooks(Vec<Removal>) -> () = crud::delete::<Book>, crud::claims_of_removal::<Book>;
}

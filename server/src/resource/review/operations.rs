//! The reads and writes of reviews, with checked values.

use bookstore_entity::review::{ActiveModel, Model};
use bookstore_query::{
    crud::{self, Change, Ids, Insert, One, Removal},
    list::{self, ListQuery, Listed},
};

use super::Review;
use crate::rpc::stamp::{operations, queries};

queries! {
    /// Reads one review.
    GetReview(One) -> Model = crud::get::<Review>, crud::row_by_id::<Review>, crud::of_row::<Review>;
    /// Reads many reviews by their ids.
    GetReviews(Ids) -> Vec<Model> = crud::get_many::<Review>, crud::rows_by_id::<Review>, crud::of_rows::<Review>;
    /// Reads a page of the list.
    ListReviews(ListQuery) -> Listed<Model> = list::list::<Review>;
}

operations! {
    /// Creates reviews.
    CreateReviews(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Review>, crud::checks_of_insert::<Review>, crud::single_insert::<Review>;
    /// Changes reviews.
    UpdateReviews(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Review>, crud::checks_of_update::<Review>;
    /// Deletes reviews.
    DeleteReviews(Vec<Removal>) -> () = crud::delete::<Review>, crud::checks_of_removal::<Review>, crud::single_delete::<Review>;
}

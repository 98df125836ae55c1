//! The reads and writes of posts, with checked values.

use bookstore_entity::post::{ActiveModel, Model};
use bookstore_query::{
    crud::{self, Change, Ids, Insert, One, Removal},
    list::{self, ListQuery, Listed},
};

use super::Post;
use crate::rpc::stamp::{operations, queries};

queries! {
    /// Reads one post.
    GetPost(One) -> Model = crud::get::<Post>, crud::row_by_id::<Post>, crud::of_row::<Post>;
    /// Reads many posts by their ids.
    GetPosts(Ids) -> Vec<Model> = crud::get_many::<Post>, crud::rows_by_id::<Post>, crud::of_rows::<Post>;
    /// Reads a page of the list.
    ListPosts(ListQuery) -> Listed<Model> = list::list::<Post>;
}

operations! {
    /// Creates posts.
    CreatePosts(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Post>, crud::checks_of_insert::<Post>, crud::single_insert::<Post>;
    /// Changes posts.
    UpdatePosts(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Post>, crud::checks_of_update::<Post>;
    /// Deletes posts.
    DeletePosts(Vec<Removal>) -> () = crud::delete::<Post>, crud::checks_of_removal::<Post>, crud::single_delete::<Post>;
}

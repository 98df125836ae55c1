//! What happens to books: reads and writes over checked values.

use bookstore_entity::book::{ActiveModel, Model};
use uuid::Uuid;

use super::Book;
use crate::store::{
    Claim, Connection, Operation, Query, StoreError,
    crud::{self, Change, Insert, Removal},
    list::{self, ListQuery, Listed},
};

/// Reads one book.
pub struct GetBook(pub Uuid);

impl Query for GetBook {
    const NAME: &'static str = "GetBook";
    type Output = Model;

    async fn fetch(&self, connection: &Connection) -> Result<Model, StoreError> {
        crud::get::<Book>(connection, self.0).await
    }
}

/// Reads many books by their ids.
pub struct GetBooks {
    /// Their ids.
    pub ids: Vec<Uuid>,
    /// The most that they may be together, in bytes.
    pub most: usize,
}

impl Query for GetBooks {
    const NAME: &'static str = "GetBooks";
    type Output = Vec<Model>;

    async fn fetch(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::get_many::<Book>(connection, &self.ids, self.most).await
    }
}

/// Reads a page of the list.
pub struct ListBooks(pub ListQuery);

impl Query for ListBooks {
    const NAME: &'static str = "ListBooks";
    type Output = Listed<Model>;

    async fn fetch(&self, connection: &Connection) -> Result<Listed<Model>, StoreError> {
        list::list::<Book>(connection, &self.0).await
    }
}

/// Creates books.
pub struct CreateBooks(pub Vec<Insert<ActiveModel>>);

impl Operation for CreateBooks {
    const NAME: &'static str = "CreateBooks";
    type Output = Vec<Model>;

    async fn apply(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::insert::<Book>(connection, &self.0).await
    }

    fn claims(&self) -> Vec<Claim> {
        crud::claims_of_insert::<Book>(&self.0)
    }
}

/// Changes books.
pub struct UpdateBooks(pub Vec<Change<ActiveModel>>);

impl Operation for UpdateBooks {
    const NAME: &'static str = "UpdateBooks";
    type Output = Vec<Model>;

    async fn apply(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::update::<Book>(connection, &self.0).await
    }

    fn claims(&self) -> Vec<Claim> {
        crud::claims_of_update::<Book>(&self.0)
    }
}

/// Deletes books.
pub struct DeleteBooks(pub Vec<Removal>);

impl Operation for DeleteBooks {
    const NAME: &'static str = "DeleteBooks";
    type Output = ();

    async fn apply(&self, connection: &Connection) -> Result<(), StoreError> {
        crud::delete::<Book>(connection, &self.0).await
    }
}

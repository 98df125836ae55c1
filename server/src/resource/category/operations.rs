//! What happens to categories: reads and writes over checked values.

use bookstore_entity::{
    book,
    category::{ActiveModel, Model},
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, LockType, Order, SelectStatement},
};
use uuid::Uuid;

use super::Category;
use crate::store::{
    Claim, Connection, Operation, Query, StoreError,
    crud::{self, Change, Insert, Removal},
    list::{self, ListQuery, Listed},
};

/// Reads one category.
pub struct GetCategory(pub Uuid);

impl Query for GetCategory {
    const NAME: &'static str = "GetCategory";
    type Output = Model;

    async fn fetch(&self, connection: &Connection) -> Result<Model, StoreError> {
        crud::get::<Category>(connection, self.0).await
    }
}

/// Reads many categories by their ids.
pub struct GetCategories {
    /// Their ids.
    pub ids: Vec<Uuid>,
    /// The most that they may be together, in bytes.
    pub most: usize,
}

impl Query for GetCategories {
    const NAME: &'static str = "GetCategories";
    type Output = Vec<Model>;

    async fn fetch(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::get_many::<Category>(connection, &self.ids, self.most).await
    }
}

/// Reads a page of the list.
pub struct ListCategories(pub ListQuery);

impl Query for ListCategories {
    const NAME: &'static str = "ListCategories";
    type Output = Listed<Model>;

    async fn fetch(&self, connection: &Connection) -> Result<Listed<Model>, StoreError> {
        list::list::<Category>(connection, &self.0).await
    }
}

/// Creates categories.
pub struct CreateCategories(pub Vec<Insert<ActiveModel>>);

impl Operation for CreateCategories {
    const NAME: &'static str = "CreateCategories";
    type Output = Vec<Model>;

    async fn apply(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::insert::<Category>(connection, &self.0).await
    }

    fn claims(&self) -> Vec<Claim> {
        crud::claims_of_insert::<Category>(&self.0)
    }
}

/// Changes categories.
pub struct UpdateCategories(pub Vec<Change<ActiveModel>>);

impl Operation for UpdateCategories {
    const NAME: &'static str = "UpdateCategories";
    type Output = Vec<Model>;

    async fn apply(&self, connection: &Connection) -> Result<Vec<Model>, StoreError> {
        crud::update::<Category>(connection, &self.0).await
    }

    fn claims(&self) -> Vec<Claim> {
        crud::claims_of_update::<Category>(&self.0)
    }
}

/// Deletes categories. Their books stay, without a category; they change by that.
pub struct DeleteCategories(pub Vec<Removal>);

impl Operation for DeleteCategories {
    const NAME: &'static str = "DeleteCategories";
    type Output = ();

    async fn apply(&self, connection: &Connection) -> Result<(), StoreError> {
        // The categories first: nobody puts a book into one that is about to go, and a wrong
        // etag costs nothing.
        crud::lock_for_delete::<Category>(connection, &self.0).await?;
        let ids: Vec<Uuid> = self.0.iter().map(|removal| removal.id).collect();
        unlink_books(connection, &ids).await?;
        crud::delete::<Category>(connection, &self.0).await
    }
}

/// Takes books out of their categories in one statement, with a new version and time; the
/// foreign key's SET NULL would leave both as they are.
async fn unlink_books(connection: &Connection, categories: &[Uuid]) -> Result<(), StoreError> {
    // Locked in the order of their ids, as every other write locks them: the UPDATE alone
    // would go by another index, and end in deadlocks with batches of books.
    let mut books = SelectStatement::new();
    books.column(book::Column::Id).from(book::Entity).and_where(crud::column_in(
        connection,
        "category_id",
        categories,
    ));
    if connection.get_database_backend() == DbBackend::Postgres {
        books.order_by(book::Column::Id, Order::Asc).lock(LockType::Update);
    }
    book::Entity::update_many()
        .col_expr(book::Column::CategoryId, Expr::value(None::<Uuid>))
        .col_expr(book::Column::UpdatedAt, Expr::value(crud::now()))
        .col_expr(book::Column::Version, Expr::col(book::Column::Version).add(1))
        .filter(book::Column::Id.in_subquery(books))
        .exec(connection)
        .await?;
    Ok(())
}

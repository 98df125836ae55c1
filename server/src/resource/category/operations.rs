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
    Connection, Operation, StoreError,
    crud::{self, Change, Ids, Insert, Removal},
    list::{self, ListQuery, Listed},
    operations, queries,
};

queries! {
    /// Reads one category.
    GetCategory(Uuid) -> Model = crud::get::<Category>;
    /// Reads many categories by their ids.
    GetCategories(Ids) -> Vec<Model> = crud::get_many::<Category>;
    /// Reads a page of the list.
    ListCategories(ListQuery) -> Listed<Model> = list::list::<Category>;
}

operations! {
    /// Creates categories.
    CreateCategories(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Category>, crud::claims_of_insert::<Category>;
    /// Changes categories.
    UpdateCategories(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Category>, crud::claims_of_update::<Category>;
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

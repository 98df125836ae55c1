//! The writes of books, with checked values. The reads are in `view.rs`.

use bookstore_entity::{
    book::{ActiveModel, Model},
    cart, cart_item,
};
use bookstore_query::{
    Resource,
    crud::{self, Change, Insert, Removal},
};
use bookstore_store::{Connection, ConstraintCheck, Operation, StoreError};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, LockType, Order, Query as Sql, SelectStatement},
};
use uuid::Uuid;

use super::Book;
use crate::rpc::stamp::operations;

operations! {
    /// Creates books.
    CreateBooks(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Book>, crud::checks_of_insert::<Book>, crud::single_insert::<Book>;
    /// Changes books.
    UpdateBooks(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Book>, crud::checks_of_update::<Book>;
}

/// Deletes books and removes them from carts, which get a new version.
pub struct DeleteBooks(pub Vec<Removal>);

impl Operation for DeleteBooks {
    const NAME: &'static str = "DeleteBooks";
    type Output = ();

    async fn apply(&self, connection: &Connection) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = self.0.iter().map(|removal| removal.id).collect();
        // Carts before books: every change of a cart locks the cart before it reads its books.
        lock_carts(connection, &ids).await?;
        crud::lock_all(connection, Book::FIELDS.table, "id", ids.iter().copied()).await?;
        change_carts(connection, &ids).await?;
        crud::delete::<Book>(connection, &self.0).await
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        crud::checks_of_removal::<Book>(&self.0)
    }
}

/// Locks the carts that hold books, in the order of their ids. On SQLite a transaction has locked
/// the whole file already.
async fn lock_carts(connection: &Connection, books: &[Uuid]) -> Result<(), StoreError> {
    if connection.get_database_backend() == DbBackend::Postgres {
        let mut carts = Sql::select();
        carts
            .column(cart::Column::Id)
            .from(cart::Entity)
            .and_where(Expr::col(cart::Column::Id).in_subquery(holding(connection, books)))
            .order_by(cart::Column::Id, Order::Asc)
            .lock(LockType::Update);
        connection.query_all(&carts).await?;
    }
    Ok(())
}

/// Gives the carts that hold books a new version and time; the foreign key's CASCADE, which removes
/// the books from them, changes neither.
async fn change_carts(connection: &Connection, books: &[Uuid]) -> Result<(), StoreError> {
    cart::Entity::update_many()
        .col_expr(
            cart::Column::UpdatedAt,
            crud::later(
                connection.get_database_backend(),
                bookstore_store::now(),
                r#""updated_at""#,
            ),
        )
        .col_expr(cart::Column::Version, Expr::col(cart::Column::Version).add(1))
        .filter(Expr::col(cart::Column::Id).in_subquery(holding(connection, books)))
        .exec(connection)
        .await?;
    Ok(())
}

/// The ids of the carts that hold books.
fn holding(connection: &Connection, books: &[Uuid]) -> SelectStatement {
    let mut carts = Sql::select();
    carts.column(cart_item::Column::CartId).from(cart_item::Entity);
    carts.and_where(crud::column_in(connection, "book_id", books)).take()
}

//! The reads and writes of categories, with checked values.

use std::collections::HashMap;

use bookstore_entity::{
    book,
    category::{ActiveModel, Model},
};
use bookstore_query::{
    crud::{self, Change, Ids, Insert, One, Removal},
    list::{self, ListQuery, Listed},
    mean::mean,
};
use bookstore_store::{Connection, Operation, StoreError};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, LockType, Order, SelectStatement},
};
use uuid::Uuid;

use super::Category;
use crate::rpc::stamp::{operations, queries};

/// Micros in a unit of money.
const MICROS: i64 = 1_000_000;

queries! {
    /// Reads one category.
    GetCategory(One) -> Model = crud::get::<Category>, crud::row_by_id::<Category>, crud::of_row::<Category>;
    /// Reads many categories by their ids.
    GetCategories(Ids) -> Vec<Model> = crud::get_many::<Category>, crud::rows_by_id::<Category>, crud::of_rows::<Category>;
    /// Reads a page of the list.
    ListCategories(ListQuery) -> Listed<Model> = list::list::<Category>;
    /// Reads a page of the list, with figures of each category's books.
    GetCategoryStats(ListQuery) -> Listed<(Model, Vec<Figure>)> = list_stats;
}

/// The prices of a category's books in one currency.
pub struct Figure {
    /// The currency's code.
    pub currency_code: String,
    /// How many books there are.
    pub count: i64,
    /// Their mean price in micros, half to even.
    pub mean_micros: i64,
}

async fn list_stats(
    connection: &Connection,
    query: &ListQuery,
) -> Result<Listed<(Model, Vec<Figure>)>, StoreError> {
    let listed = list::list::<Category>(connection, query).await?;
    let ids: Vec<Uuid> = listed.rows.iter().map(|category| category.id).collect();
    let figures = figures(connection, &ids).await?;
    Ok(listed.beside(figures))
}

/// The figures of categories in their order, as many as fit into a page: one statement.
async fn figures(
    connection: &Connection,
    categories: &[Uuid],
) -> Result<Vec<Vec<Figure>>, StoreError> {
    // A sum of a million of the highest prices would overflow 64 bits.
    let sum = |part| Expr::cust(format!(r#"CAST(sum("price_micros" {part} {MICROS}) AS bigint)"#));
    let mut select = SelectStatement::new();
    select
        .column(book::Column::CategoryId)
        .column(book::Column::CurrencyCode)
        .expr_as(Expr::cust("count(*)"), "book_count")
        .expr_as(sum("/"), "units")
        .expr_as(sum("%"), "micros")
        .from(book::Entity)
        .and_where(crud::column_in(connection, "category_id", categories))
        .group_by_columns([book::Column::CategoryId, book::Column::CurrencyCode])
        .order_by_expr(crud::position_in(connection, "category_id", categories), Order::Asc)
        .order_by(book::Column::CurrencyCode, Order::Asc);
    let statement = connection.get_database_backend().build(&select);
    let read = connection.query_up_to(statement, list::PAGE_BYTES).await?;
    let mut figures: HashMap<Uuid, Vec<Figure>> = HashMap::new();
    let mut last = None;
    for (row, _) in &read.rows {
        let category = row.try_get("", "category_id")?;
        let count = row.try_get("", "book_count")?;
        let mean = mean(row.try_get("", "units")?, row.try_get("", "micros")?, MICROS, count);
        let currency_code = row.try_get("", "currency_code")?;
        // A mean is no greater than the greatest price.
        let mean_micros = i64::try_from(mean).unwrap_or_default();
        figures.entry(category).or_default().push(Figure { currency_code, count, mean_micros });
        last = Some(category);
    }
    // The last category may be incomplete, and those after it are missing. A page's first category
    // always fits: there are 17,576 currency codes.
    let whole = categories.iter().take_while(|category| !read.cut || last != Some(**category));
    Ok(whole.map(|category| figures.remove(category).unwrap_or_default()).collect())
}

operations! {
    /// Creates categories.
    CreateCategories(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Category>, crud::checks_of_insert::<Category>, crud::single_insert::<Category>;
    /// Changes categories.
    UpdateCategories(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Category>, crud::checks_of_update::<Category>;
}

/// Deletes categories. Their books stay without a category and get a new version.
pub struct DeleteCategories(pub Vec<Removal>);

impl Operation for DeleteCategories {
    const NAME: &'static str = "DeleteCategories";
    type Output = ();

    async fn apply(&self, connection: &Connection) -> Result<(), StoreError> {
        // The categories first: no other transaction can then put a book into one that is being
        // deleted, and a wrong etag is found before any other work.
        crud::lock_for_delete::<Category>(connection, &self.0).await?;
        let ids: Vec<Uuid> = self.0.iter().map(|removal| removal.id).collect();
        unlink_books(connection, &ids).await?;
        crud::delete::<Category>(connection, &self.0).await
    }
}

/// Removes books from their categories in one statement, with a new version and time; the foreign
/// key's SET NULL changes neither.
async fn unlink_books(connection: &Connection, categories: &[Uuid]) -> Result<(), StoreError> {
    // Locked in the order of their ids, as every other write locks them: the UPDATE alone would use
    // another index and cause deadlocks with batches of books.
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
        .col_expr(
            book::Column::UpdatedAt,
            crud::later(
                connection.get_database_backend(),
                bookstore_store::now(),
                r#""updated_at""#,
            ),
        )
        .col_expr(book::Column::Version, Expr::col(book::Column::Version).add(1))
        .filter(book::Column::Id.in_subquery(books))
        .exec(connection)
        .await?;
    Ok(())
}

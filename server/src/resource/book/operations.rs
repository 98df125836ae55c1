//! What happens to books: reads and writes over checked values.

use bookstore_entity::{
    book::{ActiveModel, Model},
    cart, cart_item, review,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait, JoinType, LockType, Order, Query as Sql, SelectStatement},
};
use uuid::Uuid;

use super::Book;
use crate::{
    resource::{category::Category, review::Review},
    store::{
        Claim, Connection, Operation, Query, Resource, StoreError,
        crud::{self, Change, Columns, Found, Ids, Insert, One, Removal},
        list::{self, ListQuery, Listed},
        mean::mean,
        operations,
    },
};

/// How many reviews are answered with a book.
const LATEST_REVIEWS: u64 = 10;

/// How many parts a rating is summed as, and how many parts of these. Doubles from 1 to 5 have
/// at most 52 binary digits behind the point, so nothing is lost.
const RATING_PARTS: i64 = 1 << 26;

/// The square of that.
const SMALLEST_PARTS: f64 = (1_u64 << 52) as f64;

/// The categories of books, by their ids.
pub type Categories = Found<Category>;

/// Reads one book.
pub struct GetBook {
    /// Which one.
    pub one: One,
    /// What of its category; none if it isn't asked for.
    pub category: Option<Columns>,
    /// What of its reviews; none if they aren't asked for.
    pub reviews: Option<Columns>,
}

/// Reads many books by their ids.
pub struct GetBooks {
    /// Which ones.
    pub ids: Ids,
    /// What of their categories; none if they aren't asked for.
    pub category: Option<Columns>,
}

/// Reads a page of the list.
pub struct ListBooks {
    /// Which page.
    pub page: ListQuery,
    /// What of the books' categories; none if they aren't asked for.
    pub category: Option<Columns>,
}

/// The reviews of a book.
pub struct Reviews {
    /// The newest, the newest first.
    pub latest: Vec<review::Model>,
    /// How many there are.
    pub count: i64,
    /// The mean rating; none without reviews.
    pub mean: Option<f64>,
}

impl Query for GetBook {
    const NAME: &'static str = "GetBook";
    type Output = (Model, Categories, Option<Reviews>);

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let book = crud::get::<Book>(connection, &self.one).await?;
        let books = std::slice::from_ref(&book);
        let categories = categories(connection, books, self.category, usize::MAX).await?;
        let reviews = match self.reviews {
            Some(columns) => Some(reviews(connection, book.id, columns).await?),
            None => None,
        };
        Ok((book, categories, reviews))
    }
}

impl Query for GetBooks {
    const NAME: &'static str = "GetBooks";
    type Output = (Vec<Model>, Categories);

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let most = self.ids.most;
        let books = crud::get_many::<Book>(connection, &self.ids).await?;
        let categories = categories(connection, &books, self.category, most).await?;
        match categories.unread.is_empty() {
            true => Ok((books, categories)),
            false => Err(StoreError::AnswerTooLarge { size: most.saturating_add(1), limit: most }),
        }
    }
}

impl Query for ListBooks {
    const NAME: &'static str = "ListBooks";
    type Output = (Listed<Model>, Categories);

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let listed = list::list::<Book>(connection, &self.page).await?;
        let categories =
            categories(connection, &listed.rows, self.category, list::PAGE_BYTES).await?;
        Ok((listed, categories))
    }
}

/// The categories of books in one statement, in the books' order as many as fit into a size.
async fn categories(
    connection: &Connection,
    books: &[Model],
    columns: Option<Columns>,
    most: usize,
) -> Result<Categories, StoreError> {
    let mut ids: Vec<Uuid> = Vec::new();
    if columns.is_some() {
        let mut seen = std::collections::HashSet::new();
        ids.extend(books.iter().filter_map(|book| book.category_id).filter(|id| seen.insert(*id)));
    }
    let ids = Ids { ids, columns: columns.unwrap_or_default(), most };
    crud::find_many::<Category>(connection, &ids).await
}

/// A book's latest reviews, with the figures of all of them: one statement.
async fn reviews(
    connection: &Connection,
    book: Uuid,
    columns: Columns,
) -> Result<Reviews, StoreError> {
    let backend = connection.get_database_backend();
    let of_book = || review::Column::BookId.eq(book);
    let (whole, rest) = rating_parts(backend);
    let sum = |part: &str| Expr::cust(format!("CAST(sum({part}) AS bigint)"));
    let mut figures = Sql::select();
    figures
        .expr_as(Expr::cust("count(*)"), "review_count")
        .expr_as(sum(&whole), "whole")
        .expr_as(sum(&rest), "rest")
        .from(review::Entity)
        .and_where(of_book());
    let mut latest = crud::select::<Review>(backend, columns)
        .filter(of_book())
        .order_by_desc(review::Column::CreatedAt)
        .order_by_desc(review::Column::Id)
        .limit(LATEST_REVIEWS)
        .into_query();
    latest.join_subquery(JoinType::InnerJoin, figures, "figures", Expr::cust("TRUE"));
    for figure in ["review_count", "whole", "rest"] {
        latest.column(("figures", figure));
    }
    let rows = connection.query_all(&latest).await?;
    let (mut count, mut mean_rating) = (0, None);
    if let Some(row) = rows.first() {
        count = row.try_get("", "review_count")?;
        let (whole, rest) = (row.try_get("", "whole")?, row.try_get("", "rest")?);
        #[expect(clippy::cast_precision_loss, reason = "at most 55 digits; 53 of them are kept")]
        let mean = mean(whole, rest, RATING_PARTS, count) as f64;
        mean_rating = Some(mean / SMALLEST_PARTS);
    }
    let latest = rows.iter().map(|row| review::Model::from_query_result(row, ""));
    Ok(Reviews { latest: latest.collect::<Result<_, _>>()?, count, mean: mean_rating })
}

/// A rating as a whole number of parts, and the rest as one of parts of these: sums of whole
/// numbers are the same in any order, sums of doubles are not.
fn rating_parts(backend: DbBackend) -> (String, String) {
    let parts = format!(r#""rating" * {RATING_PARTS}"#);
    let whole = match backend {
        // Its CAST rounds.
        DbBackend::Postgres => format!("CAST(floor({parts}) AS bigint)"),
        _ => format!("CAST({parts} AS bigint)"),
    };
    let rest = format!("CAST(({parts} - {whole}) * {RATING_PARTS} AS bigint)");
    (whole, rest)
}

operations! {
    /// Creates books.
    CreateBooks(Vec<Insert<ActiveModel>>) -> Vec<Model> = crud::insert::<Book>, crud::claims_of_insert::<Book>;
    /// Changes books.
    UpdateBooks(Vec<Change<ActiveModel>>) -> Vec<Model> = crud::update::<Book>, crud::claims_of_update::<Book>;
}

/// Deletes books. They leave the carts, which change by that.
pub struct DeleteBooks(pub Vec<Removal>);

impl Operation for DeleteBooks {
    const NAME: &'static str = "DeleteBooks";
    type Output = ();

    async fn apply(&self, connection: &Connection) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = self.0.iter().map(|removal| removal.id).collect();
        // Carts before books: whoever changes a cart locks it before it looks at its books.
        lock_carts(connection, &ids).await?;
        crud::lock_all(connection, Book::FIELDS.table, "id", ids.iter().copied()).await?;
        change_carts(connection, &ids).await?;
        crud::delete::<Book>(connection, &self.0).await
    }

    fn claims(&self) -> Vec<Claim> {
        crud::claims_of_removal::<Book>(&self.0)
    }
}

/// Locks the carts that hold books, in the order of their ids. SQLite's transactions hold the
/// whole file already.
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

/// Gives the carts that hold books a new version and time; the foreign key's CASCADE, which
/// takes the books out of them, would leave both as they are.
async fn change_carts(connection: &Connection, books: &[Uuid]) -> Result<(), StoreError> {
    cart::Entity::update_many()
        .col_expr(cart::Column::UpdatedAt, Expr::value(crud::now()))
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

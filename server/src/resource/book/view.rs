//! The reads of books. A view selects which related resources they include.

use std::{collections::HashSet, sync::Arc};

use bookstore_entity::{book::Model, category, review};
use bookstore_query::{
    crud::{self, Columns, Ids, One},
    list::{self, ListQuery, Listed, PAGE_BYTES},
    mean::mean,
};
use bookstore_store::{Connection, Query, RowById, StoreError};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, FromQueryResult, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, QueryTrait,
    sea_query::{Expr, JoinType, Query as Sql},
};
use uuid::Uuid;

use super::Book;
use crate::resource::{category::Category, review::Review};

/// How many reviews are answered with a book.
const LATEST_REVIEWS: u64 = 10;

/// A rating is summed as a whole number of these parts and a rest in parts of a part. Doubles from
/// 1 to 5 have at most 52 binary digits behind the point, so nothing is lost.
const RATING_PARTS: i64 = 1 << 26;

/// The square of that.
const SMALLEST_PARTS: f64 = (1_u64 << 52) as f64;

/// A book's row with its category; none if it has none, or the view.
pub type WithCategory = (Model, Option<Arc<category::Model>>);

/// Reads one book.
pub struct GetBook {
    /// Which one.
    pub one: One,
    /// The columns of its category; none if it isn't selected.
    pub category: Option<Columns>,
    /// The columns of its reviews; none if they aren't selected.
    pub reviews: Option<Columns>,
}

/// Reads many books by their ids.
pub struct GetBooks {
    /// Which ones.
    pub ids: Ids,
    /// The columns of their categories; none if they aren't selected.
    pub category: Option<Columns>,
}

/// Reads a page of the list.
pub struct ListBooks {
    /// Which page.
    pub page: ListQuery,
    /// The columns of the books' categories; none if they aren't selected.
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
    type Output = (WithCategory, Option<Reviews>);

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let book = crud::get::<Book>(connection, &self.one).await?;
        let books = std::slice::from_ref(&book);
        let category = categories(connection, books, self.category, PAGE_BYTES).await?.pop();
        let reviews = match self.reviews {
            Some(columns) => Some(reviews(connection, book.id, columns).await?),
            None => None,
        };
        Ok(((book, category.flatten()), reviews))
    }

    fn row_by_id(&self) -> Option<RowById> {
        let alone = self.category.is_none() && self.reviews.is_none();
        alone.then(|| crud::row_by_id::<Book>(&self.one))
    }

    fn of_row(&self, row: Option<&QueryResult>) -> Result<Self::Output, StoreError> {
        Ok(((crud::of_row::<Book>(&self.one, row)?, None), None))
    }
}

impl Query for GetBooks {
    const NAME: &'static str = "GetBooks";
    type Output = Vec<WithCategory>;

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let most = self.ids.most;
        let books = crud::get_many::<Book>(connection, &self.ids).await?;
        let categories = categories(connection, &books, self.category, most).await?;
        match categories.len() < books.len() {
            true => Err(StoreError::AnswerTooLarge { size: most.saturating_add(1), limit: most }),
            false => Ok(books.into_iter().zip(categories).collect()),
        }
    }
}

impl Query for ListBooks {
    const NAME: &'static str = "ListBooks";
    const SCANS: bool = true;
    type Output = Listed<WithCategory>;

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let listed = list::list::<Book>(connection, &self.page).await?;
        let categories = categories(connection, &listed.rows, self.category, PAGE_BYTES).await?;
        Ok(listed.beside(categories))
    }
}

/// The category of each book, for as many books as those fit of that are read: each once, in
/// one statement.
async fn categories(
    connection: &Connection,
    books: &[Model],
    columns: Option<Columns>,
    most: usize,
) -> Result<Vec<Option<Arc<category::Model>>>, StoreError> {
    let Some(columns) = columns else { return Ok(vec![None; books.len()]) };
    let mut seen = HashSet::new();
    let ids: Vec<Uuid> =
        books.iter().filter_map(|book| book.category_id).filter(|id| seen.insert(*id)).collect();
    let found = crud::find_many::<Category>(connection, &Ids { ids, columns, most }).await?;
    let read = |book: &&Model| !book.category_id.is_some_and(|id| found.unread.contains(&id));
    let whole = books.iter().take_while(read);
    // A category that was deleted since the book was read is none.
    Ok(whole.map(|book| found.rows.get(&book.category_id?).cloned()).collect())
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

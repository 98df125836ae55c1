//! The reads of books. A view selects which related resources they include.

use std::{collections::HashSet, sync::Arc};

use bookstore_entity::{book::Model, category};
use bookstore_query::{
    crud::{self, Columns, Ids, One},
    list::{self, ListQuery, Listed, PAGE_BYTES},
};
use bookstore_store::{Connection, Query, RowsById, SharedRows, StoreError};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{
    Book,
    view_form::{Reviews, ViewForm, WithCategory, reviews_by_book, reviews_of},
};
use crate::resource::category::Category;

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
    /// The columns of the books' reviews; none if they aren't selected.
    pub reviews: Option<Columns>,
}

/// What the view of a list adds to a book.
pub type BookParts = (Option<Arc<category::Model>>, Option<Reviews>);

impl Query for GetBook {
    const NAME: &'static str = "GetBook";
    type Output = (WithCategory, Option<Reviews>);

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let form = self.form();
        if form.is_plain() {
            return Ok(((crud::get::<Book>(connection, &self.one).await?, None), None));
        }
        let backend = connection.get_database_backend();
        let rows = connection.cached(form.for_one(backend, self.one.id)).await?;
        form.read(self.one.id, &rows)
    }

    fn rows_by_id(&self) -> Option<RowsById<'_>> {
        let form = self.form();
        let plain = crud::row_by_id::<Book>(&self.one);
        Some(if form.is_plain() { plain } else { RowsById { kind: form.kind(), ..plain } })
    }

    fn of_rows(&self, rows: &SharedRows) -> Result<Self::Output, StoreError> {
        let form = self.form();
        match form.is_plain() {
            true => Ok(((crud::of_row::<Book>(&self.one, rows)?, None), None)),
            false => rows.of(self.one.id, |rows| form.read(self.one.id, rows)),
        }
    }
}

impl GetBook {
    fn form(&self) -> ViewForm {
        ViewForm { book: self.one.columns, category: self.category, reviews: self.reviews }
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

    fn rows_by_id(&self) -> Option<RowsById<'_>> {
        let (form, plain) = (self.form(), crud::rows_by_id::<Book>(&self.ids));
        Some(if form.is_plain() { plain } else { RowsById { kind: form.kind(), ..plain } })
    }

    fn of_rows(&self, rows: &SharedRows) -> Result<Self::Output, StoreError> {
        let form = self.form();
        if form.is_plain() {
            let books = crud::of_rows::<Book>(&self.ids, rows)?;
            return Ok(books.into_iter().map(|book| (book, None)).collect());
        }
        let read = |(index, id): (usize, &Uuid)| {
            let read = rows.of(*id, |rows| form.read(*id, rows));
            let (book, _) = read.map_err(|error| crud::at_index(error, index))?;
            Ok(book)
        };
        self.ids.ids.iter().enumerate().map(read).collect()
    }
}

impl GetBooks {
    fn form(&self) -> ViewForm {
        ViewForm { book: self.ids.columns, category: self.category, reviews: None }
    }
}

impl Query for ListBooks {
    const NAME: &'static str = "ListBooks";
    const SCANS: bool = true;
    type Output = Listed<(Model, BookParts)>;

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let listed = list::list::<Book>(connection, &self.page).await?;
        if self.category.is_none() {
            return Ok(listed.alone());
        }
        let categories = categories(connection, &listed.rows, self.category, PAGE_BYTES).await?;
        let Some(columns) = self.reviews else {
            return Ok(listed.beside(categories.into_iter().map(|it| (it, None)).collect()));
        };
        let ids = listed.rows.iter().take(categories.len()).map(|book| book.id).collect();
        let reviews = reviews(connection, ids, columns).await?.into_iter().map(Some);
        Ok(listed.beside(categories.into_iter().zip(reviews).collect()))
    }
}

/// The reviews of each book, for as many books as fit on a page, in one statement.
async fn reviews(
    connection: &Connection,
    ids: Vec<Uuid>,
    columns: Columns,
) -> Result<Vec<Reviews>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let statement = reviews_of(connection.get_database_backend(), columns, &ids);
    let read = connection.cached_up_to(statement, PAGE_BYTES).await?;
    let rows: Vec<_> = read.rows.into_iter().map(|(row, _)| row).collect();
    reviews_by_book(&ids, &rows, read.cut)
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

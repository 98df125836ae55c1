//! Converts books between messages and rows, with the checks beyond the contract's rules.

use std::sync::Arc;

use bookstore_entity::{
    book::{ActiveModel, Model},
    category,
};
use bookstore_proto::v1::{
    BatchCreateBooksRequest, BatchCreateBooksResponse, BatchDeleteBooksRequest,
    BatchGetBooksRequest, BatchGetBooksResponse, BatchUpdateBooksRequest, BatchUpdateBooksResponse,
    Book as Message, BookView, CreateBookRequest, DeleteBookRequest, GetBookRequest,
    ListBooksRequest, ListBooksResponse, UpdateBookRequest,
};
use bookstore_query::{crud::Columns, list::Listed};
use bookstore_store::{Query, StoreError};
use prost::Message as _;

use super::{
    Book,
    operations::{CreateBooks, DeleteBooks, UpdateBooks},
    view::{BookParts, GetBook, GetBooks, ListBooks},
    view_form::{Reviews, WithCategory},
};
use crate::{
    resource::{category::Category, review::Review},
    rpc::{
        check::Check,
        etag,
        list::{self, ListFields, Page},
        paths::Paths,
        request::ReadRequest,
        standard::{self, Standard, standard_create, standard_delete, standard_update},
        wire,
    },
};

impl Standard for Book {
    type Message = Message;

    fn message(row: Model) -> Message {
        Message {
            id: row.id.to_string(),
            etag: etag::write(row.id, row.version, row.created_at),
            title: row.title,
            author: row.author,
            description: row.description,
            price: Some(wire::money(row.price_micros, row.currency_code)),
            stock: row.stock,
            category_id: row.category_id.map(|id| id.to_string()),
            cover_image: row.cover_image,
            attributes: wire::structure(row.attributes),
            create_time: wire::timestamp(row.created_at),
            update_time: wire::timestamp(row.updated_at),
            ..Default::default()
        }
    }

    fn key(book: &Message) -> &str {
        &book.id
    }

    fn etag(book: &Message) -> &str {
        &book.etag
    }

    fn values(check: &mut Check<'_>, path: &str, book: Message, mask: &Paths) -> ActiveModel {
        let price = book.price.unwrap_or_default();
        let category_id = book.category_id.and_then(|id| check.id(&id));
        let attributes = match mask.contains("attributes") {
            true => wire::json(check, &format!("{path}.attributes"), book.attributes),
            false => Default::default(),
        };
        ActiveModel {
            title: mask.pick("title", book.title),
            author: mask.pick("author", book.author),
            description: mask.pick("description", book.description),
            price_micros: mask.pick("price", wire::micros(&price)),
            currency_code: mask.pick("price", price.currency_code),
            stock: mask.pick("stock", book.stock),
            category_id: mask.pick("category_id", category_id),
            cover_image: mask.pick("cover_image", book.cover_image),
            attributes: mask.pick("attributes", attributes),
            ..Default::default()
        }
    }
}

impl ReadRequest for GetBookRequest {
    type Query = GetBook;
    type Answer = Message;

    fn query(self, check: &mut Check<'_>) -> Option<GetBook> {
        let detail = self.view == BookView::Detail as i32;
        Some(GetBook {
            one: standard::id::<Book>(check, &self.id)?,
            category: category_columns(check, self.view, "category"),
            reviews: detail.then(|| check.columns::<Review>("latest_reviews")),
        })
    }

    fn answer(
        _: &GetBook,
        ((book, category), reviews): (WithCategory, Option<Reviews>),
    ) -> Result<Message, StoreError> {
        Ok(with_parts(book, (category, reviews)))
    }
}

impl ReadRequest for ListBooksRequest {
    type Query = ListBooks;
    type Answer = ListBooksResponse;

    fn query(self, check: &mut Check<'_>) -> Option<ListBooks> {
        let category = category_columns(check, self.view, "books.category");
        let detail = self.view == BookView::Detail as i32;
        let reviews = detail.then(|| check.columns::<Review>("books.latest_reviews"));
        let Self { page_size, page_token, skip, filter, order_by, total_size_mode, .. } = self;
        let fields = ListFields { page_size, page_token, skip, filter, order_by, total_size_mode };
        let columns = check.columns::<Book>("books");
        let page = list::query::<Book>(check, ListBooks::NAME, fields, columns)?;
        Some(ListBooks { page, category, reviews })
    }

    fn answer(
        query: &ListBooks,
        listed: Listed<(Model, BookParts)>,
    ) -> Result<ListBooksResponse, StoreError> {
        let page = list::page_of::<Book, _, _>(&query.page, listed, with_parts)?;
        let Page { messages: books, next_page_token, total_size } = page;
        Ok(ListBooksResponse { books, next_page_token, total_size })
    }
}

impl ReadRequest for BatchGetBooksRequest {
    type Query = GetBooks;
    type Answer = BatchGetBooksResponse;

    fn query(self, check: &mut Check<'_>) -> Option<GetBooks> {
        let category = category_columns(check, self.view, "books.category");
        Some(GetBooks { ids: standard::ids::<Book>(check, &self.ids, "books")?, category })
    }

    fn answer(
        query: &GetBooks,
        rows: Vec<WithCategory>,
    ) -> Result<BatchGetBooksResponse, StoreError> {
        let (mut size, limit) = (0, query.ids.most);
        let mut books = Vec::with_capacity(rows.len());
        for (book, category) in rows {
            // Each message holds its category, so together they may be far larger than what was
            // read.
            let book = with_category(book, category);
            size += book.encoded_len();
            if size > limit {
                return Err(StoreError::AnswerTooLarge { size, limit });
            }
            books.push(book);
        }
        Ok(BatchGetBooksResponse { books })
    }
}

/// The columns to read of categories at a path of the answer; none if the view has no categories.
fn category_columns(check: &Check<'_>, view: i32, path: &str) -> Option<Columns> {
    let with_category = [BookView::WithCategory as i32, BookView::Detail as i32];
    with_category.contains(&view).then(|| check.columns::<Category>(path))
}

fn with_parts(book: Model, (category, reviews): BookParts) -> Message {
    let mut book = with_category(book, category);
    if let Some(Reviews { latest, count, mean }) = reviews {
        book.latest_reviews = standard::many::<Review>(latest);
        book.review_count = Some(count);
        book.mean_rating = mean;
    }
    book
}

fn with_category(book: Model, category: Option<Arc<category::Model>>) -> Message {
    let category =
        category.map(|category| Box::new(Category::message(Arc::unwrap_or_clone(category))));
    Message { category, ..Book::message(book) }
}

standard_create!(Book { book }: CreateBookRequest, BatchCreateBooksRequest => CreateBooks, BatchCreateBooksResponse { books });
standard_update!(Book { book }: UpdateBookRequest, BatchUpdateBooksRequest => UpdateBooks, BatchUpdateBooksResponse { books });
standard_delete!(DeleteBookRequest, BatchDeleteBooksRequest => DeleteBooks);

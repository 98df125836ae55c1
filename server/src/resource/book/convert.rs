//! Books between the wire and the row, with the checks that the contract's rules don't say.

use bookstore_entity::book::{ActiveModel, Model};
use bookstore_proto::v1::{
    BatchCreateBooksRequest, BatchCreateBooksResponse, BatchDeleteBooksRequest,
    BatchGetBooksRequest, BatchGetBooksResponse, BatchUpdateBooksRequest, BatchUpdateBooksResponse,
    Book as Message, CreateBookRequest, DeleteBookRequest, GetBookRequest, ListBooksRequest,
    ListBooksResponse, UpdateBookRequest,
};

use super::{
    Book,
    operations::{CreateBooks, DeleteBooks, GetBook, GetBooks, ListBooks, UpdateBooks},
};
use crate::{
    rpc::{
        check::Check,
        etag,
        field_mask::Paths,
        list,
        request::{ReadRequest, WriteRequest},
        standard::{self, Standard},
        wire,
    },
    store::{
        Query, StoreError,
        crud::{Change, Insert, Removal},
        list::Listed,
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
        check.id(&self.id).map(GetBook)
    }

    fn answer(_: &GetBook, row: Model) -> Result<Message, StoreError> {
        Ok(Book::message(row))
    }
}

impl ReadRequest for ListBooksRequest {
    type Query = ListBooks;
    type Answer = ListBooksResponse;

    fn query(self, check: &mut Check<'_>) -> Option<ListBooks> {
        let fields = list::Fields {
            page_size: self.page_size,
            page_token: self.page_token,
            skip: self.skip,
            filter: self.filter,
            order_by: self.order_by,
            total_size_mode: self.total_size_mode,
        };
        list::query::<Book>(check, ListBooks::NAME, fields).map(ListBooks)
    }

    fn answer(query: &ListBooks, listed: Listed<Model>) -> Result<ListBooksResponse, StoreError> {
        let page = list::page::<Book>(&query.0, listed)?;
        let list::Page { messages: books, next_page_token, total_size } = page;
        Ok(ListBooksResponse { books, next_page_token, total_size })
    }
}

impl ReadRequest for BatchGetBooksRequest {
    type Query = GetBooks;
    type Answer = BatchGetBooksResponse;

    fn query(self, check: &mut Check<'_>) -> Option<GetBooks> {
        let ids = standard::ids(check, &self.ids)?;
        Some(GetBooks { ids, most: check.max_message_size })
    }

    fn answer(_: &GetBooks, rows: Vec<Model>) -> Result<BatchGetBooksResponse, StoreError> {
        Ok(BatchGetBooksResponse { books: standard::many::<Book>(rows) })
    }
}

impl WriteRequest for CreateBookRequest {
    type Operation = CreateBooks;
    type Answer = Message;

    fn operation(self, check: &mut Check<'_>) -> Option<CreateBooks> {
        Some(CreateBooks(vec![insert(check, "", self)?]))
    }

    fn answer(rows: Vec<Model>) -> Message {
        standard::one::<Book>(rows)
    }
}

impl WriteRequest for BatchCreateBooksRequest {
    type Operation = CreateBooks;
    type Answer = BatchCreateBooksResponse;

    fn operation(self, check: &mut Check<'_>) -> Option<CreateBooks> {
        standard::batch(self.requests, |prefix, request| insert(check, prefix, request))
            .map(CreateBooks)
    }

    fn answer(rows: Vec<Model>) -> BatchCreateBooksResponse {
        BatchCreateBooksResponse { books: standard::many::<Book>(rows) }
    }
}

impl WriteRequest for UpdateBookRequest {
    type Operation = UpdateBooks;
    type Answer = Message;

    fn operation(self, check: &mut Check<'_>) -> Option<UpdateBooks> {
        Some(UpdateBooks(vec![change(check, "", self)?]))
    }

    fn answer(rows: Vec<Model>) -> Message {
        standard::one::<Book>(rows)
    }
}

impl WriteRequest for BatchUpdateBooksRequest {
    type Operation = UpdateBooks;
    type Answer = BatchUpdateBooksResponse;

    fn operation(self, check: &mut Check<'_>) -> Option<UpdateBooks> {
        standard::batch(self.requests, |prefix, request| change(check, prefix, request))
            .map(UpdateBooks)
    }

    fn answer(rows: Vec<Model>) -> BatchUpdateBooksResponse {
        BatchUpdateBooksResponse { books: standard::many::<Book>(rows) }
    }
}

impl WriteRequest for DeleteBookRequest {
    type Operation = DeleteBooks;
    type Answer = ();

    fn operation(self, check: &mut Check<'_>) -> Option<DeleteBooks> {
        Some(DeleteBooks(vec![removal(check, "", self)?]))
    }

    fn answer((): ()) {}
}

impl WriteRequest for BatchDeleteBooksRequest {
    type Operation = DeleteBooks;
    type Answer = ();

    fn operation(self, check: &mut Check<'_>) -> Option<DeleteBooks> {
        standard::batch(self.requests, |prefix, request| removal(check, prefix, request))
            .map(DeleteBooks)
    }

    fn answer((): ()) {}
}

fn insert(
    check: &mut Check<'_>,
    prefix: &str,
    request: CreateBookRequest,
) -> Option<Insert<ActiveModel>> {
    standard::insert::<Book>(check, prefix, request.book, &request.id)
}

fn change(
    check: &mut Check<'_>,
    prefix: &str,
    request: UpdateBookRequest,
) -> Option<Change<ActiveModel>> {
    let UpdateBookRequest { book, update_mask, allow_missing } = request;
    standard::change::<Book>(check, prefix, book, update_mask.as_ref(), allow_missing)
}

fn removal(check: &mut Check<'_>, prefix: &str, request: DeleteBookRequest) -> Option<Removal> {
    standard::removal(check, prefix, &request.id, &request.etag, request.allow_missing)
}

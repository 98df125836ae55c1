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
        standard::{
            self, Entry, Standard, standard_batch_get, standard_delete, standard_get,
            standard_list, standard_write,
        },
        wire,
    },
    store::crud::{Change, Insert, Removal},
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

standard_get!(Book: GetBookRequest => GetBook);
standard_list!(Book: ListBooksRequest => ListBooks, ListBooksResponse { books });
standard_batch_get!(Book: BatchGetBooksRequest => GetBooks, BatchGetBooksResponse { books });
standard_write!(Book: CreateBookRequest, BatchCreateBooksRequest => CreateBooks, BatchCreateBooksResponse { books });
standard_write!(Book: UpdateBookRequest, BatchUpdateBooksRequest => UpdateBooks, BatchUpdateBooksResponse { books });
standard_delete!(DeleteBookRequest, BatchDeleteBooksRequest => DeleteBooks);

impl Entry for CreateBookRequest {
    type Checked = Insert<ActiveModel>;

    fn checked(self, check: &mut Check<'_>, prefix: &str) -> Option<Self::Checked> {
        standard::insert::<Book>(check, prefix, self.book, &self.id)
    }
}

impl Entry for UpdateBookRequest {
    type Checked = Change<ActiveModel>;

    fn checked(self, check: &mut Check<'_>, prefix: &str) -> Option<Self::Checked> {
        let Self { book, update_mask, allow_missing } = self;
        standard::change::<Book>(check, prefix, book, update_mask.as_ref(), allow_missing)
    }
}

impl Entry for DeleteBookRequest {
    type Checked = Removal;

    fn checked(self, check: &mut Check<'_>, prefix: &str) -> Option<Self::Checked> {
        standard::removal(check, prefix, &self.id, &self.etag, self.allow_missing)
    }
}

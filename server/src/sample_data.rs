//! Generated rows of every resource, to try the service with. They are the same in every database:
//! each row has its number, and its id is the number after the first id of its resource.

mod books;
mod carts;
mod orders;
mod users;

use std::num::NonZeroU32;

use bookstore_proto::v1::{
    BatchCreateBooksRequest, GetBookRequest, GetItemRequest, ListBooksRequest,
};
use bookstore_store::{Deadline, Store, StoreError};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::{
    budget,
    rpc::{
        calls::Calls,
        consistency::Consistency,
        context::{AnswerCell, RequestContext},
        request::{ReadRequest, WriteRequest},
        session::SessionCell,
    },
    security::audit::PeerAddress,
};

/// How many books are loaded unless a number is given, as the command line has it.
pub const BOOKS: &str = "500";

/// The fewest books. The sample reviews, carts and orders are of the first ones.
pub const FEWEST_BOOKS: u32 = 50;

/// The most books.
pub const MOST_BOOKS: u32 = 1_000_000;

/// Books in one statement.
const BATCH: u32 = 500;

/// After so many books the log shows the progress.
const PROGRESS: u32 = 50_000;

/// The first ids, to which the number of a row is added. The schema brings the categories 1 to 5.
const CATEGORY: u128 = 0x0193_0000_0000_7000_8000_0000_0000_0000;
const BOOK: u128 = CATEGORY + 0x1_0000;
const USER: u128 = CATEGORY + 0x3_0000;
const ORDER: u128 = CATEGORY + 0x4_0000;
const REVIEW: u128 = CATEGORY + 0x5_0000;
const POST: u128 = CATEGORY + 0x6_0000;
const ITEM: u128 = CATEGORY + 0x7_0000;
const CART: u128 = CATEGORY + 0x8_0000;
const CART_ITEM: u128 = CATEGORY + 0x9_0000;
/// Books from number 61,440 on, so that they keep clear of the ids of other resources and of those
/// that the documents use.
const MORE_BOOKS: u128 = CATEGORY + 0x1000_0000;

/// Why the sample data was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum SampleDataError {
    /// A call of the service failed.
    #[error("{}", .0.message())]
    Call(#[from] Status),
    /// A statement failed.
    #[error("{}", .0.report())]
    Store(#[from] StoreError),
}

/// Loads the rows into a database without books, `books` books among them. If an earlier load has
/// not ended, it continues there. A database that has them, or books of its own, stays as it is.
///
/// # Errors
/// If a call or a statement fails.
pub async fn load(calls: &Calls, store: &Store, books: NonZeroU32) -> Result<(), SampleDataError> {
    let loader = Loader { calls, is_begun: exists(calls, book_of(1)).await? };
    if exists(calls, last_item()).await? {
        tracing::info!("the sample data is there already");
        return Ok(());
    }
    let any = ListBooksRequest { page_size: 1, ..Default::default() };
    let listed = calls.read(request(any)).await?;
    if !loader.is_begun && !listed.get_ref().books.is_empty() {
        tracing::info!("the database has books already: no sample data is loaded");
        return Ok(());
    }
    let books = books.get();
    let mut first = 1;
    while first <= books {
        let last = books.min(first + BATCH - 1);
        let requests = (first..=last).map(|n| books::book(n.into())).collect();
        loader.write(BatchCreateBooksRequest { requests }).await?;
        if last.is_multiple_of(PROGRESS) && last < books {
            tracing::info!("sample data: {last} of {books} books");
        }
        first = last + 1;
    }
    loader.write(users::users()).await?;
    loader.write(users::reviews()).await?;
    loader.write(users::posts()).await?;
    carts::load(store).await?;
    orders::load(&loader).await?;
    // The last of them shows that everything is loaded.
    loader.write(users::items()).await?;
    tracing::info!(
        "sample data loaded: {books} books, {} users, {} reviews, {} posts, {} carts, {} orders, \
         {} items",
        users::USERS.len(),
        users::REVIEWS,
        users::POSTS.len(),
        carts::CARTS.len(),
        orders::ORDERS,
        users::ITEMS.len(),
    );
    Ok(())
}

/// Writes the rows.
struct Loader<'a> {
    calls: &'a Calls,
    /// Whether an earlier load has begun.
    is_begun: bool,
}

impl Loader<'_> {
    /// Makes a call. Where an earlier load has begun, or another program loads at the same time, rows
    /// may exist, and a caller may have changed or deleted others: what does not fit is left out.
    async fn write<R: WriteRequest>(&self, message: R) -> Result<(), Status> {
        match self.calls.write(request(message)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            Err(status)
                if self.is_begun
                    && matches!(status.code(), Code::NotFound | Code::FailedPrecondition) =>
            {
                tracing::warn!("sample data left out: {}", status.message());
                Ok(())
            }
            Err(status) => Err(status),
        }
    }
}

/// Whether a row exists.
async fn exists<R: ReadRequest>(calls: &Calls, message: R) -> Result<bool, Status> {
    match calls.read(request(message)).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status),
    }
}

fn book_of(n: u128) -> GetBookRequest {
    GetBookRequest { id: id(BOOK, n), ..Default::default() }
}

fn last_item() -> GetItemRequest {
    GetItemRequest { id: id(ITEM, users::ITEMS.len() as u128) }
}

/// The id of row number n.
fn id(first: u128, n: u128) -> String {
    uuid(first, n).to_string()
}

fn uuid(first: u128, n: u128) -> Uuid {
    let first = if first == BOOK && n >= 0xF000 { MORE_BOOKS } else { first };
    Uuid::from_u128(first + n)
}

/// A request of the program's own. It doesn't pass the layers.
fn request<R>(message: R) -> Request<R> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(RequestContext {
        method: "sample-data",
        request_id: "sample-data".into(),
        deadline: Deadline::NONE,
        consistency: Consistency::Strong,
        consistency_token: None,
        session: SessionCell::default(),
        budget: budget::unbounded(),
        principal: None,
        peer: PeerAddress::Unknown,
        stream_access: None,
        control: None,
        idempotency: None,
        validate_only: false,
        repeated: false,
        field_mask: None,
        answer: AnswerCell::default(),
    });
    request
}

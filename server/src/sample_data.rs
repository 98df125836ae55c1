//! Generated rows of every resource, to try the service with. They are the same in every database:
//! each row has its number, and its id is the number after the first id of its resource.

mod books;
mod carts;
mod ids;
mod loader;
mod orders;
mod users;

use std::num::NonZeroU32;

use bookstore_proto::v1::{
    BatchCreateBooksRequest, GetBookRequest, GetItemRequest, ListBooksRequest, ListUsersRequest,
};
use bookstore_store::{Store, StoreError};
use tonic::Status;

pub use self::ids::FEWEST_BOOKS;
use self::{
    ids::{BOOK, ITEM, id},
    loader::{Loader, exists, request},
};
use crate::rpc::calls::Calls;

/// How many books are loaded unless a number is given, as the command line has it.
pub const BOOKS: &str = "500";

/// The most books.
pub const MOST_BOOKS: u32 = 1_000_000;

/// Books in one statement.
const BATCH: u32 = 500;

/// After so many books the log shows the progress.
const PROGRESS: u32 = 50_000;

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

/// Loads the rows into a database without books and users, `books` books among them. If an earlier
/// load has not ended, it continues there. A database that has them, or books or users of its own,
/// stays as it is.
///
/// # Errors
/// If a call or a statement fails.
pub async fn load(calls: &Calls, store: &Store, books: NonZeroU32) -> Result<(), SampleDataError> {
    let loader = Loader { calls, is_begun: exists(calls, book_of(1)).await? };
    if exists(calls, last_item()).await? {
        tracing::info!("the sample data is there already");
        return Ok(());
    }
    if !loader.is_begun
        && let Some(resource) = present(calls).await?
    {
        tracing::info!("the database has {resource} already: no sample data is loaded");
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

/// What the database has rows of: books, or users, whose emails may be those of the sample data.
async fn present(calls: &Calls) -> Result<Option<&'static str>, SampleDataError> {
    let books = ListBooksRequest { page_size: 1, ..Default::default() };
    if !calls.read(request(books)).await?.get_ref().books.is_empty() {
        return Ok(Some("books"));
    }
    let users = ListUsersRequest { page_size: 1, ..Default::default() };
    let has_users = !calls.read(request(users)).await?.get_ref().users.is_empty();
    Ok(has_users.then_some("users"))
}

fn book_of(n: u128) -> GetBookRequest {
    GetBookRequest { id: id(BOOK, n), ..Default::default() }
}

fn last_item() -> GetItemRequest {
    GetItemRequest { id: id(ITEM, users::ITEMS.len() as u128) }
}

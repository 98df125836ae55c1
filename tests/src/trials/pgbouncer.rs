//! `PgBouncer` between the service and PostgreSQL: in session mode every answer is the caller's own,
//! in the other modes the service and migrations refuse it.

use std::sync::Arc;

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, ListBooksRequest, Money, UpdateBookRequest,
    book_service_client::BookServiceClient,
};
use futures_util::future::join_all;
use tonic::{Code, Request, transport::Channel};
use uuid::Uuid;

use crate::{
    Database, Engine, Origin, TestServer,
    postgres::pgbouncer::{PgBouncer, is_installed},
    program::run,
};

/// Callers at the same time.
const CALLERS: u32 = 16;

/// The sessions that the pooler opens: fewer than the service's pool may, so that openings wait.
const SESSIONS: u32 = 8;

/// Calls `scale` times through a pooler in session mode, and tries the other modes.
///
/// # Panics
/// If it isn't installed, or an answer is wrong.
pub(super) async fn pgbouncer(scale: u32) {
    assert!(is_installed(), "pgbouncer isn't installed; on Debian: apt-get install pgbouncer");
    session_mode_works(scale).await;
    for mode in ["transaction", "statement"] {
        mode_is_refused(mode).await;
    }
}

async fn session_mode_works(scale: u32) {
    let database = Database::create(Engine::Postgres, Origin::Empty).await;
    let owner = PgBouncer::start(&database.owner_url(), "session", SESSIONS).await;
    let url = owner.url(&database.owner_url());
    let migrated = run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    drop(owner);
    let database = Arc::new(database);
    let pooler = PgBouncer::start(&database.url(), "session", SESSIONS).await;
    let url = pooler.url(&database.url());
    let server = TestServer::builder(Engine::Postgres).on(database).env("DATABASE_URL", &url);
    let server = server.start().await;
    let books = BookServiceClient::new(server.channel());
    let callers = (0..CALLERS).map(|caller| call(books.clone(), caller, scale / CALLERS));
    join_all(callers).await;
}

/// Writes and reads a caller's own books, by filters of many shapes: each is a statement that a
/// session prepares.
async fn call(mut books: BookServiceClient<Channel>, caller: u32, calls: u32) {
    let author = format!("Caller {caller}");
    let id = Uuid::new_v4().to_string();
    let mut book = a_book(&author, 0);
    book.id = id.clone();
    let create = CreateBookRequest { book: Some(book), id: id.clone() };
    books.create_book(create).await.expect("a book");
    for round in 0..calls {
        let stock = i32::try_from(round % 1_000).expect("a small number");
        match round % 4 {
            0 => {
                let book = Book { id: id.clone(), stock, ..Default::default() };
                let mask = prost_types::FieldMask { paths: vec!["stock".to_owned()] };
                let update = UpdateBookRequest {
                    book: Some(book),
                    update_mask: Some(mask),
                    ..Default::default()
                };
                let book = books.update_book(update).await.expect("a write").into_inner();
                assert_eq!((book.id, book.stock), (id.clone(), stock));
            }
            1 => {
                let get = GetBookRequest { id: id.clone(), ..Default::default() };
                let mut get = Request::new(get);
                get.metadata_mut().insert("consistency", "strong".parse().expect("ASCII"));
                let book = books.get_book(get).await.expect("a book").into_inner();
                assert_eq!(book.author, author);
            }
            _ => {
                let filter = match round % 3 {
                    0 => format!("author = \"{author}\""),
                    1 => format!("author = \"{author}\" AND stock >= 0"),
                    _ => {
                        format!("stock < 100000 AND author = \"{author}\" AND title = \"A title\"")
                    }
                };
                let list = ListBooksRequest { filter: filter.clone(), ..Default::default() };
                let list = books.list_books(list).await.expect("a list").into_inner().books;
                let authors: Vec<_> = list.into_iter().map(|book| book.author).collect();
                assert_eq!(authors, std::slice::from_ref(&author), "{filter}");
            }
        }
    }
}

fn a_book(author: &str, stock: i32) -> Book {
    Book {
        title: "A title".to_owned(),
        author: author.to_owned(),
        price: Some(Money { currency_code: "USD".to_owned(), units: 5, nanos: 0 }),
        stock,
        ..Default::default()
    }
}

async fn mode_is_refused(mode: &str) {
    let database = Arc::new(Database::create(Engine::Postgres, Origin::Migrated).await);
    let owner = PgBouncer::start(&database.owner_url(), mode, SESSIONS).await;
    let url = owner.url(&database.owner_url());
    let migrated = run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(migrated.code, Some(1), "{mode}: {migrated:?}");
    is_refusal(&migrated.errors, mode);
    let pooler = PgBouncer::start(&database.url(), mode, SESSIONS).await;
    let url = pooler.url(&database.url());
    let server = TestServer::builder(Engine::Postgres).on(database).env("DATABASE_URL", &url);
    let server = server.wait_for(None).start().await;
    is_refusal(&server.logs().wait_for(|line| line.contains("pooler")).await, mode);
    let mut books = BookServiceClient::new(server.channel());
    for _ in 0..20 {
        let status = books.list_books(ListBooksRequest::default()).await;
        assert_eq!(status.expect_err("no answer").code(), Code::Unavailable, "{mode}");
    }
}

fn is_refusal(text: &str, mode: &str) {
    let is_one = text.contains("goes through a pooler") && text.contains("session mode");
    assert!(is_one, "{mode}: {text}");
}

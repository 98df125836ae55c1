//! Transactions over lines that break, to a service that is killed: what they have read and
//! written is explained by an order of them, and each one's outcome is known in the end.

mod caller;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    BatchCreateBooksRequest, Book, CreateBookRequest, GetBookRequest, Money,
    book_service_client::BookServiceClient,
};
use tokio::sync::watch;
use tonic::transport::Channel;

use self::caller::Caller;
use crate::{
    Database, Engine, Line, Origin, TestServer,
    history::{Level, Transaction, faults},
    until,
};

/// Callers at the same time.
const CALLERS: u32 = 8;

/// How often the service is killed.
const KILLS: u32 = 3;

/// The most bytes that a connection carries: a few transactions' worth.
const MOST: usize = 30_000;

/// The lists in use at a time, and after how many transactions the next one comes.
const LISTS: u32 = 4;
const EACH: u32 = 100;

/// How many faults are told.
const TOLD: usize = 10;

/// Carries out `scale` transactions on each engine, on PostgreSQL at two levels.
pub(super) async fn history(scale: u32) {
    for (engine, level) in [
        (Engine::Sqlite, Level::StrictSerializable),
        (Engine::Postgres, Level::StrictSerializable),
        (Engine::Postgres, Level::ReadCommitted),
    ] {
        one(engine, level, scale).await;
    }
}

async fn one(engine: Engine, level: Level, scale: u32) {
    let database = Arc::new(Database::create(engine, Origin::Migrated).await);
    let mut server = start(&database).await;
    let lists = scale / EACH + LISTS;
    create(server.channel(), lists).await;
    let mut line = Line::breaking(server.address(), MOST).await;
    let (tell, address) = watch::channel(line.url().to_owned());
    let (next, began) = (Arc::new(AtomicU32::new(0)), Instant::now());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let caller = Caller::new(address.clone(), level, began);
            let next = Arc::clone(&next);
            tokio::spawn(async move { caller.call_until(&next, scale).await })
        })
        .collect();
    for kill in 1..=KILLS {
        let some = scale * kill / (KILLS + 1);
        until("some transactions have begun", Duration::from_secs(1_800), async || {
            next.load(Ordering::Relaxed) >= some
        })
        .await;
        server.kill().await;
        server = start(&database).await;
        line = Line::breaking(server.address(), MOST).await;
        tell.send_replace(line.url().to_owned());
    }
    let mut history: Vec<Transaction> = Vec::new();
    let mut unknown = 0;
    for caller in callers {
        let done = caller.await.expect("a caller that doesn't panic");
        history.extend(done.history);
        unknown += done.unknown;
    }
    drop(line);
    let lists = read(server.channel(), lists).await;
    let happened = history.iter().filter(|it| it.happened).count();
    let appended: usize = lists.values().map(Vec::len).sum();
    let faults = faults(&history, &lists, level);
    let first = faults.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} faults:\n{first}", faults.len());
    assert!(unknown > 0, "nothing broke");
    assert!(happened > history.len() / 4, "{happened} happened of {}", history.len());
    eprintln!(
        "{engine:?}, {level:?}: {happened} of {} transactions happened, {appended} values, \
         {unknown} outcomes were unknown at first; {:?}",
        history.len(),
        began.elapsed()
    );
}

async fn start(database: &Arc<Database>) -> TestServer {
    let server = TestServer::builder(database.engine()).on(Arc::clone(database));
    server.env("LOG_LEVEL", "error").start().await
}

/// Makes the books whose descriptions are the lists.
async fn create(channel: Channel, lists: u32) {
    let price = Some(Money { currency_code: "EUR".into(), units: 5, nanos: 0 });
    let (title, author) = ("A list", "Several");
    let book = Book { title: title.into(), author: author.into(), price, ..Book::default() };
    let request = |list| CreateBookRequest { book: Some(book.clone()), id: id(list) };
    let mut books = BookServiceClient::new(channel);
    for first in (0..lists).step_by(1_000) {
        let requests = (first..lists.min(first + 1_000)).map(request).collect();
        books.batch_create_books(BatchCreateBooksRequest { requests }).await.expect("books");
    }
}

/// The lists as they are.
async fn read(channel: Channel, lists: u32) -> BTreeMap<u32, Vec<u64>> {
    let mut books = BookServiceClient::new(channel);
    let mut all = BTreeMap::new();
    for list in 0..lists {
        let request = GetBookRequest { id: id(list), ..GetBookRequest::default() };
        let book = books.get_book(request).await.expect("a book").into_inner();
        all.insert(list, values(&book));
    }
    all
}

/// The values of a list.
fn values(book: &Book) -> Vec<u64> {
    let text = book.description.as_deref().unwrap_or_default();
    text.split_whitespace().map(|value| value.parse().expect("a value")).collect()
}

/// The id of the book that is a list.
fn id(list: u32) -> String {
    format!("0195a000-0000-4000-8000-{list:012x}")
}

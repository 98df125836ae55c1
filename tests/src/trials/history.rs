//! Transactions over connections that break, with a service that is killed or a database that fails
//! over. A serial order explains what they have read and written, and each one's outcome is known
//! in the end.

mod caller;
mod lists;

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
use tonic::{Request, transport::Channel};

use self::{
    caller::Caller,
    lists::{CALLERS, EACH, LISTS, id, values},
};
use super::readers::{ADMIN, LOG, Readers, Shared};
use crate::{
    Database, Engine, Line, Origin, Replicated, TestServer,
    history::{Level, Transaction, violations},
    until,
};

/// How often the service is killed or the primary is lost.
const FAILURES: u32 = 3;

/// The most bytes that a connection carries: a few transactions' worth.
const MOST: usize = 30_000;

/// The number of violations to print.
const PRINTED: usize = 10;

/// The timeout for progress.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The database of the service.
enum Setup {
    /// One database. The service is killed.
    Single(Arc<Database>),
    /// A primary, with its node's number, and two replicas. The primary is lost, and a replica is
    /// promoted.
    Several(Replicated, usize),
}

/// Runs `scale` transactions on each engine, on PostgreSQL at two levels, and with replicas.
pub(super) async fn history(scale: u32) {
    for (engine, level) in [
        (Engine::Sqlite, Level::StrictSerializable),
        (Engine::Postgres, Level::StrictSerializable),
        (Engine::Postgres, Level::ReadCommitted),
    ] {
        let database = Arc::new(Database::create(engine, Origin::Migrated).await);
        one(&format!("{engine:?}"), Setup::Single(database), level, scale).await;
    }
    let cluster = Replicated::start(2).await;
    // Without synchronous replication an acknowledged commit may be on the lost primary alone.
    let synchronous = "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()";
    cluster.execute(0, synchronous).await;
    one("Replicas", Setup::Several(cluster, 0), Level::StrictSerializable, scale).await;
}

impl Setup {
    async fn serve(&self) -> TestServer {
        let server = match self {
            Self::Single(database) => {
                TestServer::builder(database.engine()).on(Arc::clone(database))
            }
            Self::Several(cluster, _) => {
                TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"))
            }
        };
        server.env(LOG.0, LOG.1).env(ADMIN.0, ADMIN.1).start().await
    }

    /// Causes the next failure, and returns the service that runs afterwards.
    async fn break_down(&mut self, mut server: TestServer) -> TestServer {
        match self {
            Self::Single(_) => {
                server.kill().await;
                self.serve().await
            }
            Self::Several(cluster, primary) => {
                let lost = *primary;
                cluster.kill(lost).await;
                let others: Vec<usize> = (0..3).filter(|node| *node != lost).collect();
                let (successor, left) = cluster.furthest(&others).await;
                cluster.promote(successor).await;
                for replica in left {
                    cluster.follow_to(replica, successor).await;
                }
                cluster.rejoin(lost, successor).await;
                *primary = successor;
                server
            }
        }
    }
}

async fn one(name: &str, mut setup: Setup, level: Level, scale: u32) {
    let mut server = setup.serve().await;
    let lists = scale / EACH + LISTS;
    create(server.channel(), lists).await;
    let mut line = Line::breaking(server.address(), MOST).await;
    let (publish, address) = watch::channel(line.url().to_owned());
    let ids: Vec<_> = (0..lists.min(4)).map(id).collect();
    let (mut readers, mut shared) = (Readers::start(&server, &ids), Shared::default());
    let (next, began) = (Arc::new(AtomicU32::new(0)), Instant::now());
    let callers: Vec<_> = (0..CALLERS)
        .map(|session| {
            let caller = Caller::new(session, address.clone(), level, began);
            let next = Arc::clone(&next);
            tokio::spawn(async move { caller.call_until(&next, scale).await })
        })
        .collect();
    for failure in 1..=FAILURES {
        let some = scale * failure / (FAILURES + 1);
        until("some transactions have begun", TIMEOUT, async || {
            next.load(Ordering::Relaxed) >= some
        })
        .await;
        shared = shared.and(Shared::count(&server).await);
        let admin = server.admin_address().await;
        server = setup.break_down(server).await;
        if server.admin_address().await == admin {
            // The same service goes on, and so do its figures.
            shared = Shared::default();
        }
        readers.end().await;
        readers = Readers::start(&server, &ids);
        line = Line::breaking(server.address(), MOST).await;
        publish.send_replace(line.url().to_owned());
    }
    let mut history: Vec<Transaction> = Vec::new();
    let mut unknown = 0;
    for caller in callers {
        let done = caller.await.expect("no panic of a caller");
        history.extend(done.history);
        unknown += done.unknown;
    }
    readers.end().await;
    shared.and(Shared::count(&server).await).report(name);
    drop(line);
    let lists = read(server.channel(), lists).await;
    let happened = history.iter().filter(|it| it.happened).count();
    let by_replicas = history.iter().filter(|it| it.by_replica).count();
    let appended: usize = lists.values().map(Vec::len).sum();
    let violations = violations(&history, &lists, level);
    let first = violations.iter().take(PRINTED).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(violations.is_empty(), "{} violations:\n{first}", violations.len());
    assert!(unknown > 0, "no connection broke");
    assert!(happened > history.len() / 4, "{happened} of {} were applied", history.len());
    assert_eq!(by_replicas > 0, matches!(setup, Setup::Several(..)), "answers of replicas");
    eprintln!(
        "{name}, {level:?}: {happened} of {} transactions happened, {by_replicas} at replicas, \
         {appended} values, {unknown} outcomes were unknown at first; {:?}",
        history.len(),
        began.elapsed()
    );
}

/// Creates the books whose descriptions are the lists.
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

/// The present lists.
async fn read(channel: Channel, lists: u32) -> BTreeMap<u32, Vec<u64>> {
    let mut books = BookServiceClient::new(channel);
    let mut all = BTreeMap::new();
    for list in 0..lists {
        let mut request = Request::new(GetBookRequest { id: id(list), ..Default::default() });
        request.metadata_mut().insert("consistency", "strong".parse().expect("ASCII"));
        let book = books.get_book(request).await.expect("a book").into_inner();
        all.insert(list, values(&book));
    }
    all
}

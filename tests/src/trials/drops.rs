//! Calls cancelled at any point leave nothing behind: no open transaction, no lost connection, no
//! missing acknowledged write.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, ListBooksRequest, Money, UpdateBookRequest,
    book_service_client::BookServiceClient,
};
use tonic::{Status, transport::Channel};

use super::readers::{ADMIN, Readers, Shared};
use crate::{Database, Engine, Origin, Postgres, SOON, TestServer, until};

/// Concurrent callers. There are fewer connections, so some calls wait for one.
const CALLERS: u32 = 8;

/// The service's connections on PostgreSQL.
const POOL: u64 = 2;

/// Plain calls after the cancelled ones.
const PLAIN: u32 = 100;

/// The part of a book's id that tells for which phase it was created.
const OWN: u32 = 0;
const CANCELLED: u32 = 1;
const TIMED: u32 = 2;
const AFTERWARDS: u32 = 3;

/// Cancels `scale` calls on each engine, two thirds of them writes.
pub(super) async fn drops(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = Arc::new(Database::create(engine, Origin::Migrated).await);
        let reads = scale / 3;
        cancel_calls(&database, Kind::Writes, scale - reads).await;
        cancel_calls(&database, Kind::Reads, reads).await;
    }
}

/// The kind of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// CreateBook, and UpdateBook every fourth time.
    Writes,
    /// GetBook and ListBooks.
    Reads,
}

/// What the callers did and learned.
#[derive(Debug, Default)]
struct Tally {
    /// The requested ids, and whether their creation was acknowledged.
    created: HashMap<String, bool>,
    /// The number of requested and of acknowledged updates, by id.
    updated: HashMap<String, (u64, u64)>,
    answered: u32,
    dropped: u32,
    /// Unexpected errors.
    failed: BTreeMap<String, u32>,
}

/// Starts a separate service on the database, so that its sessions can be counted.
async fn cancel_calls(database: &Arc<Database>, kind: Kind, drops: u32) {
    let before = Sessions::count(database).await;
    let mut server = TestServer::builder(database.engine())
        .on(Arc::clone(database))
        .env("DATABASE_POOL_SIZE", &POOL.to_string())
        .env("DATABASE_MAX_OVERFLOW", "0")
        .env("SHUTDOWN_PAUSE", "0s")
        .env(ADMIN.0, ADMIN.1)
        .start()
        .await;
    let mut client = BookServiceClient::new(server.channel());
    for number in 0..CALLERS {
        let own = Call { id: id(kind, OWN, number, 0), kind: Kind::Writes, update: None };
        own.run(&mut client).await.expect("a caller's own book");
    }
    let usual_time = measure_usual_time(&server, kind).await;
    let left = Arc::new(AtomicU32::new(drops));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (channel, left) = (server.channel(), Arc::clone(&left));
            tokio::spawn(caller(channel, number, kind, usual_time, left))
        })
        .collect();
    // Beside the calls that are cancelled, for the same kind of rows.
    let own: Vec<_> = (0..CALLERS).map(|number| id(kind, OWN, number, 0)).collect();
    let readers = Readers::start(&server, &own);
    let mut tallies = Vec::new();
    for caller in callers {
        tallies.push(caller.await.expect("no panic of a caller"));
    }
    assert!(readers.end().await > 0, "no read was answered");
    Shared::count(&server).await.report("drops");
    let sum = |count: fn(&Tally) -> u32| tallies.iter().map(count).sum::<u32>();
    let (answered, dropped) = (sum(|tally| tally.answered), sum(|tally| tally.dropped));
    let failed: Vec<_> = tallies.iter().flat_map(|tally| &tally.failed).collect();
    assert!(failed.is_empty(), "calls failed: {failed:?}");
    no_open_transaction(database).await;
    for attempt in 0..PLAIN {
        let call = Call { id: id(kind, AFTERWARDS, 0, attempt), kind, update: None };
        call.run(&mut client).await.expect("a call after the cancelled ones");
    }
    assert!(server.terminate().await.status.success(), "the service stops cleanly");
    let after = Sessions::count(database).await;
    let (there, begun) = nothing_lost(database, &tallies).await;
    eprintln!(
        "{:?}, {kind:?}: {dropped} dropped after up to {:?}, of which {begun} writes happened; \
         {answered} answered, {there} books",
        database.engine(),
        2 * usual_time
    );
    let Some((before, after)) = before.zip(after) else { return };
    let opened = after.opened - before.opened;
    let abandoned = after.abandoned - before.abandoned;
    eprintln!(
        "  {opened} sessions were opened, {abandoned} of them ended without a termination message"
    );
    // A reader's connection may be closed once to make room for a writer's. One more session asks
    // for the schema.
    assert!(opened <= 2 * POOL + 1, "{opened} sessions for {POOL} connections: some were closed");
    assert_eq!(abandoned, 0, "sessions of the service without a termination message");
}

/// The usual duration of a call that isn't cancelled: the median of some, with all callers at once.
async fn measure_usual_time(server: &TestServer, kind: Kind) -> Duration {
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let channel = server.channel();
            tokio::spawn(async move {
                let mut client = BookServiceClient::new(channel);
                let mut took = Vec::new();
                for attempt in 0..10 {
                    let begun = Instant::now();
                    let call = Call { id: id(kind, TIMED, number, attempt), kind, update: None };
                    call.run(&mut client).await.expect("a call that is not cancelled");
                    took.push(begun.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.expect("no panic of a caller"));
    }
    took.sort();
    took[took.len() / 2]
}

/// Makes calls until enough are cancelled, each after up to twice the usual duration.
async fn caller(
    channel: Channel,
    number: u32,
    kind: Kind,
    usual_time: Duration,
    left: Arc<AtomicU32>,
) -> Tally {
    let mut client = BookServiceClient::new(channel);
    let mut tally = Tally::default();
    let own = id(kind, OWN, number, 0);
    for attempt in 0.. {
        let update = (attempt % 4 == 3).then(|| own.clone());
        let call = Call { id: id(kind, CANCELLED, number, attempt), kind, update };
        let limit = usual_time.mul_f64(2.0 * rand::random::<f64>());
        let answer = cancel_after(call.run(&mut client), limit).await;
        call.note(&mut tally, answer.as_ref());
        if answer.is_none() {
            let others =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if others.is_err() {
                break;
            }
        }
    }
    tally
}

/// One call.
struct Call {
    id: String,
    kind: Kind,
    /// The book to update instead.
    update: Option<String>,
}

impl Call {
    async fn run(&self, client: &mut BookServiceClient<Channel>) -> Result<(), Status> {
        match (self.kind, &self.update) {
            (Kind::Writes, None) => {
                let request = CreateBookRequest { book: Some(book()), id: self.id.clone() };
                client.create_book(request).await.map(drop)
            }
            (Kind::Writes, Some(id)) => {
                let book = Some(Book { id: id.clone(), stock: 7, ..Default::default() });
                let request = UpdateBookRequest { book, ..Default::default() };
                client.update_book(request).await.map(drop)
            }
            (Kind::Reads, Some(id)) => client
                .get_book(GetBookRequest { id: id.clone(), ..Default::default() })
                .await
                .map(drop),
            (Kind::Reads, None) => {
                let request = ListBooksRequest { page_size: 20, ..Default::default() };
                client.list_books(request).await.map(drop)
            }
        }
    }

    /// Records the result; `None` if the call was cancelled.
    fn note(&self, tally: &mut Tally, answer: Option<&Result<(), Status>>) {
        let acknowledged = matches!(answer, Some(Ok(())));
        match answer {
            Some(Ok(())) => tally.answered += 1,
            Some(Err(status)) => *tally.failed.entry(format!("{status:?}")).or_default() += 1,
            None => tally.dropped += 1,
        }
        match (self.kind, &self.update) {
            (Kind::Writes, None) => drop(tally.created.insert(self.id.clone(), acknowledged)),
            (Kind::Writes, Some(id)) => {
                let (asked, done) = tally.updated.entry(id.clone()).or_default();
                *asked += 1;
                *done += u64::from(acknowledged);
            }
            (Kind::Reads, _) => {}
        }
    }
}

/// The call's answer, or `None` if it is cancelled first. Tokio's timer has a resolution of
/// milliseconds, about what a call takes, so this function polls the clock itself.
async fn cancel_after<T>(call: impl Future<Output = T>, limit: Duration) -> Option<T> {
    let begun = Instant::now();
    let leave = async {
        while begun.elapsed() < limit {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = call => Some(answer),
        () = leave => None,
    }
}

/// Waits until the cancelled calls have ended, and asserts that no transaction is open.
async fn no_open_transaction(database: &Database) {
    let name = match database {
        // SQLite has one writer: a successful write shows that there is no other.
        Database::Sqlite(_) => return drop(database.sql("BEGIN IMMEDIATE; ROLLBACK").await),
        Database::Postgres(database) => database.name(),
    };
    let mut session = Postgres::shared().await.connect("postgres").await;
    until("every session is idle", SOON, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE state <> 'idle' AND datname = $1 AND application_name = 'bookstore'";
        let busy: i64 =
            sqlx::query_scalar(sql).bind(name).fetch_one(&mut session).await.expect("a count");
        busy == 0
    })
    .await;
}

/// Asserts that every acknowledged write is there, and no write that wasn't requested. Returns the
/// number of books, and of writes that were applied although their calls were cancelled.
async fn nothing_lost(database: &Database, tallies: &[Tally]) -> (usize, u64) {
    let rows = database.sql("SELECT id, version FROM books").await;
    let versions: HashMap<String, u64> = rows
        .into_iter()
        .filter_map(|row| match row.as_slice() {
            [Some(id), Some(version)] => Some((id.clone(), version.parse().ok()?)),
            _ => None,
        })
        .collect();
    let mut unseen = 0;
    for (id, acknowledged) in tallies.iter().flat_map(|tally| &tally.created) {
        let there = versions.contains_key(id);
        assert!(there || !acknowledged, "book {id} was acknowledged and isn't there");
        unseen += u64::from(there && !acknowledged);
    }
    for (id, (asked, done)) in tallies.iter().flat_map(|tally| &tally.updated) {
        let updates = versions[id] - 1;
        let possible = *done..=*asked;
        assert!(possible.contains(&updates), "{updates} updates of {id}, where {possible:?}");
        unseen += updates - done;
    }
    let asked: HashSet<&String> = tallies.iter().flat_map(|tally| tally.created.keys()).collect();
    let cancelled = tallies.first().and_then(|tally| tally.created.keys().next());
    let cancelled = cancelled.map_or("none", |id| &id[..8]);
    for id in versions.keys().filter(|id| id.starts_with(cancelled)) {
        assert!(asked.contains(id), "book {id} was not requested");
    }
    (versions.len(), unseen)
}

/// The id of a caller's book, unique in a database.
fn id(kind: Kind, phase: u32, caller: u32, attempt: u32) -> String {
    let kind = u32::from(kind == Kind::Reads);
    format!("{kind:04x}{phase:04x}-{caller:04x}-7000-8000-{attempt:012x}")
}

fn book() -> Book {
    let price = Some(Money { currency_code: "EUR".into(), units: 10, nanos: 0 });
    Book { title: "Storm".into(), author: "A. Caller".into(), price, ..Default::default() }
}

/// The number of sessions that a PostgreSQL database has ever had.
#[derive(Clone, Copy, Debug)]
struct Sessions {
    opened: u64,
    /// Those whose client disconnected without a termination message.
    abandoned: u64,
}

impl Sessions {
    /// Counts once every session has ended, since a session reports itself at its end. It asks from
    /// another database, so as not to be counted.
    async fn count(database: &Database) -> Option<Self> {
        let Database::Postgres(database) = database else { return None };
        let name = database.name();
        let mut session = Postgres::shared().await.connect("postgres").await;
        until("every session has ended", SOON, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
            let open: i64 =
                sqlx::query_scalar(sql).bind(name).fetch_one(&mut session).await.expect("a count");
            open == 0
        })
        .await;
        let sql = "SELECT sessions, sessions_abandoned FROM pg_stat_database WHERE datname = $1";
        let counted: (i64, i64) =
            sqlx::query_as(sql).bind(name).fetch_one(&mut session).await.expect("counts");
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        Some(Self { opened: number(counted.0), abandoned: number(counted.1) })
    }
}

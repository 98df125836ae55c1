//! Mixed load with faults for a long time: the service's memory, descriptors, threads and sessions
//! stay flat.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Begin, Book, CreateBookRequest, GetBookRequest, ListBooksRequest, Money, TransactRequest,
    TransactResponse, UpdateBookRequest, book_service_client::BookServiceClient,
    transact_request::Step, transaction_service_client::TransactionServiceClient,
};
use tokio_stream::StreamExt as _;
use tonic::{Request, Status, Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use uuid::Uuid;

use crate::{Database, Engine, Line, Origin, Resources, SOON, TestServer, until};

/// How often the load pauses, so that what is left can be counted.
const ROUNDS: u32 = 5;

/// Callers of each service.
const CALLERS: usize = 6;

/// The calls of a connection of a caller.
const CALLS: u32 = 40;

/// The connections of each pool.
const POOL: u64 = 8;

/// The pause of a caller between two calls, so that the load fits a small machine.
const PAUSE: Duration = Duration::from_millis(15);

/// What the memory may grow by from the second pause to the last, in bytes: allocators keep more or
/// less of what is free.
const MEMORY: u64 = 12 << 20;

/// The descriptors that may be open at one pause and not at another: idle sessions and the like.
const DESCRIPTORS: u64 = 8;

/// The threads that may run at one pause and not at another.
const THREADS: u64 = 6;

/// Loads a service on each engine for `scale` seconds together.
pub(super) async fn soak(scale: u32) {
    let seconds = Duration::from_secs(u64::from(scale));
    tokio::join!(soak_on(Engine::Postgres, seconds), soak_on(Engine::Sqlite, seconds));
}

async fn soak_on(engine: Engine, seconds: Duration) {
    let database = Arc::new(Database::create(engine, Origin::Migrated).await);
    let mut builder = TestServer::builder(engine).on(database.clone()).env("LOG_LEVEL", "error");
    builder = builder.env("DATABASE_POOL_SIZE", &POOL.to_string());
    builder = builder.env("DATABASE_MAX_OVERFLOW", "0");
    // Transactions that are left alone hold connections, and SQLite's only writer, for so long.
    builder = builder.env("TRANSACTION_IDLE_TIMEOUT", "200ms");
    let line = match engine {
        Engine::Postgres => Some(Line::to(&database).await),
        Engine::Sqlite => None,
    };
    if let Some(line) = &line {
        builder = builder.env("DATABASE_URL", line.url());
    }
    let server = builder.start().await;
    let address = format!("http://{}", server.address());
    let mut pauses: Vec<Resources> = Vec::new();
    for round in 0..ROUNDS {
        let tally = load(&address, &database, line.as_ref(), seconds / ROUNDS).await;
        let [succeeded, failed] = tally;
        assert!(
            succeeded > failed,
            "{engine:?}: {succeeded} calls succeed and {failed} fail in round {round}"
        );
        let now = at_rest(&server, &database, pauses.first()).await;
        eprintln!(
            "{engine:?} {round}: {succeeded} calls succeeded and {failed} failed; then {now:?}"
        );
        pauses.push(now);
    }
    let (early, last) = (&pauses[1], &pauses[pauses.len() - 1]);
    // The first round fills caches.
    assert!(last.memory <= early.memory + early.memory / 10 + MEMORY, "{engine:?}: {pauses:#?}");
}

/// Waits until no call is left, and returns what the service has then: no more than at the first
/// pause.
async fn at_rest(server: &TestServer, database: &Database, first: Option<&Resources>) -> Resources {
    if database.engine() == Engine::Postgres {
        let sessions = "SELECT count(*) FROM pg_stat_activity \
                        WHERE usename = 'bookstore_app' AND datname = current_database()";
        until("the sessions are those of an idle pool", SOON, async || {
            // Beside the pool's there is the control connection.
            database.value(sessions).await.parse::<u64>().is_ok_and(|open| open <= POOL + 1)
        })
        .await;
        let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                    AND datname = current_database() AND xact_start IS NOT NULL";
        until("no transaction is open", SOON, async || database.value(open).await == "0").await;
    }
    let mut now = server.resources().expect("the service's process");
    if let Some(first) = first {
        until("descriptors and threads are as few as before", SOON, async || {
            now = server.resources().expect("the service's process");
            now.descriptors <= first.descriptors + DESCRIPTORS
                && now.threads <= first.threads + THREADS
        })
        .await;
    }
    now
}

/// Calls for a time, with faults in between. Returns how many calls succeeded and failed.
async fn load(address: &str, database: &Database, line: Option<&Line>, time: Duration) -> [u64; 2] {
    let (end, stop) = (Instant::now() + time, Arc::<AtomicBool>::default());
    let tally: Arc<[AtomicU64; 2]> = Arc::default();
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (address, stop, tally) = (address.to_owned(), stop.clone(), tally.clone());
            tokio::spawn(async move {
                let mut round = u32::try_from(number).expect("a small number");
                while !stop.load(Ordering::Relaxed) {
                    connection(&address, &stop, &tally, &mut round).await;
                }
            })
        })
        .collect();
    let mut fault = 0;
    while Instant::now() < end {
        tokio::time::sleep((time / 6).min(end - Instant::now())).await;
        let Some(line) = line else { continue };
        fault += 1;
        if fault % 2 == 0 {
            let failed = || tally[1].load(Ordering::Relaxed);
            let before = failed();
            line.cut();
            until("calls fail", SOON, async || failed() > before).await;
            line.restore();
        } else {
            until("sessions are ended", SOON, async || database.end_sessions().await > 0).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic of a caller");
    }
    [&tally[0], &tally[1]].map(|count| count.load(Ordering::Relaxed))
}

/// The calls of one connection.
async fn connection(address: &str, stop: &AtomicBool, tally: &[AtomicU64; 2], round: &mut u32) {
    let channel = Channel::from_shared(address.to_owned()).expect("an address").connect_lazy();
    let mut books = BookServiceClient::new(channel.clone());
    let id = Uuid::new_v4().to_string();
    let own = CreateBookRequest { book: Some(a_book(0)), id: id.clone() };
    if books.create_book(own).await.is_err() {
        // A fault: another connection tries.
        tally[1].fetch_add(1, Ordering::Relaxed);
        return tokio::time::sleep(PAUSE).await;
    }
    let mut left_alone = Vec::new();
    for _ in 0..CALLS {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        *round += 1;
        let has_succeeded = call(&channel, &mut books, &id, *round, &mut left_alone).await;
        tally[usize::from(!has_succeeded)].fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

/// The answers of a transaction, which is open while they are kept.
type Answers = Streaming<TransactResponse>;

/// One call of many kinds. Whether it succeeded; a transaction that it leaves alone is added.
async fn call(
    channel: &Channel,
    books: &mut BookServiceClient<Channel>,
    id: &str,
    round: u32,
    left_alone: &mut Vec<Answers>,
) -> bool {
    let list = |filter: &str| ListBooksRequest {
        filter: filter.to_owned(),
        page_size: 20,
        ..Default::default()
    };
    match round % 8 {
        0 => {
            let create = CreateBookRequest { book: Some(a_book(round)), ..Default::default() };
            let mut create = Request::new(create);
            let key = Uuid::new_v4().to_string();
            create.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
            books.create_book(create).await.is_ok()
        }
        1 => {
            books.get_book(GetBookRequest { id: id.to_owned(), ..Default::default() }).await.is_ok()
        }
        2 => books.list_books(list("title:book AND stock > 5")).await.is_ok(),
        3 => books.list_books(list(&format!("stock = {}", round % 1_000))).await.is_ok(),
        4 => {
            let mask = prost_types::FieldMask { paths: vec!["stock".to_owned()] };
            let update = UpdateBookRequest {
                book: Some(Book { id: id.to_owned(), ..a_book(round) }),
                update_mask: Some(mask),
                ..Default::default()
            };
            books.update_book(update).await.is_ok()
        }
        5 => {
            // A caller that leaves, unless the answer comes before.
            let soon = Duration::from_millis(u64::from(round / 8 % 4));
            let answer = tokio::time::timeout(soon, books.list_books(list("title:book"))).await;
            answer.map_or(true, |answer| answer.is_ok())
        }
        6 => {
            // A watch, and at times a transaction that is left alone.
            if (round / 8).is_multiple_of(4) {
                match begin(channel).await {
                    Ok(answers) => left_alone.push(answers),
                    Err(_) => return false,
                }
            }
            let watch = HealthCheckRequest { service: "ready".to_owned() };
            HealthClient::new(channel.clone()).watch(watch).await.is_ok()
        }
        _ => {
            let get = GetBookRequest { id: id.to_owned(), ..Default::default() };
            books.get_book(get).await.is_ok()
        }
    }
}

/// Begins a transaction whose caller sends nothing more.
async fn begin(channel: &Channel) -> Result<Answers, Status> {
    let begin = TransactRequest { step: Some(Step::Begin(Begin::default())) };
    let steps = tokio_stream::iter([begin]).chain(tokio_stream::pending());
    let answers = TransactionServiceClient::new(channel.clone()).transact(steps).await?;
    let mut answers = answers.into_inner();
    let begun = answers.message().await?;
    assert!(begun.is_some(), "the transaction has begun");
    Ok(answers)
}

fn a_book(stock: u32) -> Book {
    Book {
        title: "A book".to_owned(),
        author: "Somebody".to_owned(),
        price: Some(Money { currency_code: "USD".to_owned(), units: 5, nanos: 0 }),
        stock: i32::try_from(stock % 1_000).unwrap_or_default(),
        ..Default::default()
    }
}

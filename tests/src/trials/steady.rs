//! Callers that write with keys and read, steadily, and record what a failover costs them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, book_service_client::BookServiceClient,
};
use tokio::task::JoinHandle;
use tonic::{Request, Status, transport::Channel};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::until;

/// Callers of each kind.
const CALLERS: usize = 4;

/// The number of calls after which a caller counts as running again.
const GOES_ON: u32 = 20;

/// What callers have seen.
#[derive(Default)]
pub(super) struct Seen {
    /// The ids of the books whose creation was acknowledged.
    pub(super) acknowledged: Vec<String>,
    /// Of writes.
    pub(super) writes: Kind,
    /// Of eventually consistent reads.
    pub(super) eventual: Kind,
    /// Of reads that must not be older than what the same connection has read.
    pub(super) session: Kind,
}

/// What callers have seen of one kind of calls.
#[derive(Clone, Default)]
pub(super) struct Kind {
    /// The longest time of a caller from one success to the next, failures in between included.
    pub(super) gap: Duration,
    /// Failed calls by reason. Each was retried.
    pub(super) failed: BTreeMap<String, u32>,
    /// Successes of each caller.
    succeeded: [u32; CALLERS],
}

/// Running callers.
pub(super) struct Steady {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
}

impl Steady {
    /// Starts them, each on its own connection.
    pub(super) fn start(address: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let stop = Arc::<AtomicBool>::default();
        let mut callers = Vec::new();
        for number in 0..CALLERS {
            let books = || {
                let endpoint = Channel::from_shared(address.to_owned()).expect("an address");
                BookServiceClient::new(endpoint.connect_lazy())
            };
            let caller = Caller { number, seen: seen.clone(), stop: stop.clone() };
            callers.push(tokio::spawn(caller.clone().write(books())));
            callers.push(tokio::spawn(
                caller.clone().read(books(), "eventual", |it| &mut it.eventual),
            ));
            callers.push(tokio::spawn(caller.read(books(), "session", |it| &mut it.session)));
        }
        Self { seen, stop, callers }
    }

    /// Waits until every caller succeeds again, and returns what they have seen since the last
    /// time.
    pub(super) async fn until_running(&self, limit: Duration) -> Seen {
        {
            let mut seen = lock(&self.seen);
            let Seen { writes, eventual, session, .. } = &mut *seen;
            for kind in [writes, eventual, session] {
                kind.succeeded = [0; CALLERS];
            }
        }
        until("every caller succeeds again", limit, async || {
            let seen = lock(&self.seen);
            let all = [&seen.writes, &seen.eventual, &seen.session].map(|kind| kind.succeeded);
            all.as_flattened().iter().all(|calls| *calls >= GOES_ON)
        })
        .await;
        std::mem::take(&mut *lock(&self.seen))
    }

    /// Stops them; returns the rest of what they have seen.
    pub(super) async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("no panic of a caller");
        }
        std::mem::take(&mut *lock(&self.seen))
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Caller {
    number: usize,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
}

impl Caller {
    async fn write(self, mut books: BookServiceClient<Channel>) {
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let key = Uuid::new_v4().to_string();
            loop {
                match books.create_book(create(&key)).await {
                    Ok(answer) => {
                        let mut seen = lock(&self.seen);
                        seen.acknowledged.push(answer.into_inner().id);
                        self.succeeded(&mut seen.writes, &mut last);
                        break;
                    }
                    Err(status) => {
                        let wait = failed(&mut lock(&self.seen).writes, &status);
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }

    /// Reads a book that doesn't exist, so that any node can answer.
    async fn read(
        self,
        mut books: BookServiceClient<Channel>,
        consistency: &'static str,
        kind: fn(&mut Seen) -> &mut Kind,
    ) {
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let id = Uuid::new_v4().to_string();
            match books.get_book(get(&id, consistency)).await {
                Err(status) if reason(&status) != "RESOURCE_NOT_FOUND" => {
                    let wait = failed(kind(&mut lock(&self.seen)), &status);
                    tokio::time::sleep(wait).await;
                }
                _ => self.succeeded(kind(&mut lock(&self.seen)), &mut last),
            }
        }
    }

    fn succeeded(&self, kind: &mut Kind, last: &mut Instant) {
        kind.gap = kind.gap.max(last.elapsed());
        kind.succeeded[self.number] += 1;
        *last = Instant::now();
    }
}

/// Creates a book under a key, which is its title too.
pub(super) fn create(key: &str) -> Request<CreateBookRequest> {
    let price = Some(Money { currency_code: "EUR".into(), units: 5, nanos: 0 });
    let (title, author) = (format!("key {key}"), "Frank Herbert".into());
    let book = Some(Book { title, author, price, ..Book::default() });
    let mut request = Request::new(CreateBookRequest { book, id: String::new() });
    request.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
    request
}

/// Reads a book with this consistency.
pub(super) fn get(id: &str, consistency: &'static str) -> Request<GetBookRequest> {
    let get = GetBookRequest { id: id.to_owned(), ..GetBookRequest::default() };
    let mut request = Request::new(get);
    request.metadata_mut().insert("consistency", consistency.parse().expect("ASCII"));
    request
}

fn reason(status: &Status) -> String {
    let info = status.get_error_details();
    let reason = info.error_info().map(|info| info.reason.clone());
    reason.unwrap_or_else(|| format!("{:?}", status.code()))
}

/// Records a failure; returns the pause that the service asks for.
fn failed(kind: &mut Kind, status: &Status) -> Duration {
    *kind.failed.entry(reason(status)).or_default() += 1;
    let details = status.get_error_details();
    details.retry_info().and_then(|retry| retry.retry_delay).unwrap_or_default()
}

//! Callers during a change of the primary, and how long each was without an answer.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::book_service_client::BookServiceClient;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{
    TestServer,
    trials::steady::{create, get},
};

/// The number of callers that write, and of those that read.
const CALLERS: usize = 4;

/// The longest time between two answers.
pub(super) struct Pace(Mutex<(Instant, Duration)>);

impl Pace {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Instant::now(), Duration::ZERO))))
    }

    fn answered(&self) {
        let mut pace = self.lock();
        let (last, longest) = *pace;
        *pace = (Instant::now(), longest.max(last.elapsed()));
    }

    fn reset(&self) {
        self.lock().1 = Duration::ZERO;
    }

    /// The longest time since the last reset.
    pub(super) fn longest(&self) -> Duration {
        let (last, longest) = *self.lock();
        longest.max(last.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, (Instant, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All callers.
pub(super) struct Callers {
    stop: Arc<AtomicBool>,
    /// How often a writer was asked to retry.
    pub(super) retries: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    writers: Vec<Arc<Pace>>,
    /// A client without a service between.
    pub(super) bare: Arc<Pace>,
    tasks: Vec<JoinHandle<()>>,
}

impl Callers {
    /// Starts all of them. `nodes` are the addresses for the client without a service.
    pub(super) fn start(server: &TestServer, nodes: Vec<String>) -> Self {
        let mut callers = Self {
            stop: Arc::default(),
            retries: Arc::default(),
            acknowledged: Arc::default(),
            writers: (0..CALLERS).map(|_| Pace::new()).collect(),
            bare: Pace::new(),
            tasks: Vec::new(),
        };
        for pace in &callers.writers {
            let writer = Writer {
                books: BookServiceClient::new(server.channel()),
                stop: callers.stop.clone(),
                retries: callers.retries.clone(),
                acknowledged: callers.acknowledged.clone(),
                pace: pace.clone(),
            };
            callers.tasks.push(tokio::spawn(writer.run()));
            callers.tasks.push(tokio::spawn(read(server.channel(), callers.stop.clone())));
        }
        callers.tasks.push(tokio::spawn(bare(nodes, callers.stop.clone(), callers.bare.clone())));
        callers
    }

    /// Asserts that no caller has stopped yet.
    ///
    /// # Panics
    /// If one of them has received an unexpected answer.
    pub(super) fn assert_running(&self) {
        assert!(!self.tasks.iter().any(JoinHandle::is_finished), "a caller has stopped");
    }

    /// Resets the longest time without an answer.
    pub(super) fn reset(&self) {
        self.writers.iter().chain([&self.bare]).for_each(|pace| pace.reset());
    }

    /// The longest time that a writer was without an answer since then.
    pub(super) fn longest(&self) -> Duration {
        self.writers.iter().map(|pace| pace.longest()).max().unwrap_or_default()
    }

    /// The books that were written so far.
    pub(super) fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops all of them; returns the written books.
    ///
    /// # Panics
    /// If one of them has received an unexpected answer.
    pub(super) async fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for task in mem::take(&mut self.tasks) {
            task.await.expect("no panic of a caller");
        }
        self.acknowledged()
    }
}

/// Creates books, each with its own key.
struct Writer {
    books: BookServiceClient<Channel>,
    stop: Arc<AtomicBool>,
    retries: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    pace: Arc<Pace>,
}

impl Writer {
    async fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let id = self.create().await;
            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            self.pace.answered();
        }
    }

    /// Creates one book, with retries until it succeeds.
    async fn create(&mut self) -> String {
        let key = Uuid::new_v4().to_string();
        loop {
            match self.books.create_book(create(&key)).await {
                Ok(answer) => return answer.into_inner().id,
                Err(status) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause(&status)).await;
                }
            }
        }
    }
}

/// The pause before a retry, as the service states it. A call with a key may be retried; any other
/// error means that the failover is visible to callers.
fn pause(status: &Status) -> Duration {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str()).unwrap_or_default();
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    let message = status.message();
    let is_read = message.split(' ').count() > 3 && message.is_ascii();
    let is_ours = !["SQLSTATE", "25006", "error returned", "read-only"]
        .iter()
        .any(|theirs| message.contains(theirs));
    assert!(is_read && is_ours, "an unexpected error: {status:?}");
    match (status.code(), reason, delay) {
        (Code::Unavailable, "DATABASE_UNAVAILABLE", Some(delay))
        | (Code::Aborted, "KEY_IN_USE", Some(delay)) => delay,
        // The retry finds out by its key.
        (Code::Unknown, "COMMIT_OUTCOME_UNKNOWN", None) => Duration::ZERO,
        _ => panic!("{status:?}"),
    }
}

/// Reads until it is stopped. The book doesn't exist, so that any node may answer.
async fn read(channel: Channel, stop: Arc<AtomicBool>) {
    let mut books = BookServiceClient::new(channel);
    while !stop.load(Ordering::Relaxed) {
        let id = Uuid::new_v4().to_string();
        let status = books.get_book(get(&id, "eventual")).await.expect_err("no such book");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
    }
}

/// The cost of a failover for a client that tries every node every 10 ms and keeps no state.
async fn bare(nodes: Vec<String>, stop: Arc<AtomicBool>, pace: Arc<Pace>) {
    let mut at = 0;
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let write = async {
            let mut session = match connection.take() {
                Some(session) => session,
                None => PgConnection::connect(&nodes[at]).await?,
            };
            let sql = "UPDATE categories SET version = version + 1 WHERE name = 'History'";
            sqlx::query(sql).execute(&mut session).await?;
            Ok::<_, sqlx::Error>(session)
        };
        match tokio::time::timeout(Duration::from_secs(1), write).await {
            Ok(Ok(session)) => {
                connection = Some(session);
                pace.answered();
            }
            _ => at = (at + 1) % nodes.len(),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

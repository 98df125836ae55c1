//! One caller: it leads transactions, executes several writes at once, and asks for their outcomes.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    BatchGetBooksRequest, Begin, Book, Commit, ExecuteRequest, GetBookRequest, GetOutcomeRequest,
    Isolation, Outcome, TransactRequest, TransactResponse, UpdateBookRequest,
    book_service_client::BookServiceClient, transact_request::Step as Ask,
    transact_response::Step as Answer, transaction_service_client::TransactionServiceClient,
};
use prost::Message;
use prost_types::{Any, FieldMask};
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::lists::{CALLERS, EACH, LISTS, id, values};
use crate::history::{Level, Step, Transaction};

/// The timeout of an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout until the outcome of a write is known.
const SETTLED: Duration = Duration::from_mins(2);

/// Some calls are cancelled within this many milliseconds, while the service works on them.
const CANCEL_WITHIN: u64 = 15;

/// Reasons of errors after which a transaction is not applied.
const REFUSED: &[&str] = &["TRANSACTION_CONFLICT", "ETAG_MISMATCH", "LOCK_TIMEOUT"];

/// The caller of a part of a history.
pub(super) struct Caller {
    /// Its number. All of its transactions are one session.
    session: u32,
    address: watch::Receiver<String>,
    level: Level,
    /// The zero of the history's clock.
    began: Instant,
    connection: Option<Channel>,
    /// The last `consistency-token`. Connections break, and the session continues.
    token: Option<String>,
    done: Done,
}

/// A caller's results.
#[derive(Default)]
pub(super) struct Done {
    pub(super) history: Vec<Transaction>,
    /// How many outcomes had to be asked for.
    pub(super) unknown: u32,
}

/// Why a transaction failed.
enum Failed {
    /// The service says that it was not applied.
    Refused,
    /// The outcome is unknown.
    Unknown,
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map_or("", |info| info.reason.as_str());
        if REFUSED.contains(&reason) { Self::Refused } else { Self::Unknown }
    }
}

impl Caller {
    pub(super) fn new(
        session: u32,
        address: watch::Receiver<String>,
        level: Level,
        began: Instant,
    ) -> Self {
        let done = Done::default();
        Self { session, address, level, began, connection: None, token: None, done }
    }

    /// Makes transactions until there are enough of them.
    pub(super) async fn call_until(mut self, next: &AtomicU32, scale: u32) -> Done {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= scale {
                return self.done;
            }
            let key = Uuid::new_v4().to_string();
            let (mut began, mut steps) = (self.now(), Vec::new());
            let (kind, mut by_replica) = (rand::rng().random_range(0..10), false);
            let made = match kind {
                0..3 => self.lead(number, &key, &mut steps).await,
                3..6 => self.execute(number, &key, &mut began, &mut steps).await,
                6..8 => self.lead_read_only(number, &mut steps).await,
                _ => self.read_together(number, &mut by_replica, &mut steps).await,
            };
            let happened = match made {
                // On the primary such a read isn't isolated from serializable transactions.
                Ok(()) if kind >= 8 && !by_replica => continue,
                Ok(()) => true,
                // Reads of a transaction that didn't commit carry no guarantee.
                Err(_) if kind >= 6 => {
                    self.connection = None;
                    continue;
                }
                Err(failed) => {
                    self.done.unknown += u32::from(matches!(failed, Failed::Unknown));
                    let happened = self.settle(&key).await;
                    let refused = matches!(failed, Failed::Refused);
                    assert!(!(happened && refused), "{steps:?} was refused and yet applied");
                    happened
                }
            };
            let (ended, session) = (self.now(), self.session);
            let transaction = Transaction { began, ended, steps, happened, session, by_replica };
            self.done.history.push(transaction);
        }
    }

    /// Leads a transaction that reads lists and appends to some of them.
    async fn lead(&mut self, number: u32, key: &str, steps: &mut Vec<Step>) -> Result<(), Failed> {
        let isolation = match self.level {
            Level::StrictSerializable => Isolation::Serializable,
            Level::ReadCommitted => Isolation::ReadCommitted,
        };
        let begin = Begin { isolation: isolation.into(), ..Begin::default() };
        let mut led = self.begin(begin, Some(key)).await?;
        for (at, list) in some_lists(number).into_iter().enumerate() {
            let book = led.read(list, steps).await?;
            if rand::rng().random_bool(0.7) {
                let value = u64::from(number) * 10 + at as u64;
                led.append(book, list, value, self.level, steps).await?;
                if rand::rng().random_bool(0.2) {
                    led.read(list, steps).await?;
                }
            }
        }
        let token = led.commit().await?;
        self.note_token(Some(token).filter(|token| !token.is_empty()));
        Ok(())
    }

    /// Leads a read-only transaction.
    async fn lead_read_only(&mut self, number: u32, steps: &mut Vec<Step>) -> Result<(), Failed> {
        let isolation = Isolation::Serializable.into();
        let begin = Begin { isolation, read_only: true, ..Begin::default() };
        let mut led = self.begin(begin, None).await?;
        for list in some_lists(number) {
            led.read(list, steps).await?;
        }
        let token = led.commit().await?;
        self.note_token(Some(token).filter(|token| !token.is_empty()));
        Ok(())
    }

    /// Reads lists by one statement, on any node that has all that this session has seen.
    async fn read_together(
        &mut self,
        number: u32,
        by_replica: &mut bool,
        steps: &mut Vec<Step>,
    ) -> Result<(), Failed> {
        let lists = some_lists(number);
        let ids = lists.iter().map(|list| id(*list)).collect();
        let mut request = timed(BatchGetBooksRequest { ids, ..Default::default() });
        if let Some(token) = &self.token {
            request.metadata_mut().insert("consistency-token", token.parse().expect("ASCII"));
        }
        let mut books = BookServiceClient::new(self.channel().await?);
        let answer = books.batch_get_books(request).await?;
        self.note(answer.metadata());
        *by_replica = answer.metadata().get("served-by").is_some_and(|node| node != "primary");
        for (list, book) in lists.into_iter().zip(&answer.get_ref().books) {
            steps.push(Step::Read { list, values: values(book) });
        }
        Ok(())
    }

    /// Stores the token of an answer.
    fn note(&mut self, metadata: &MetadataMap) {
        let token = metadata.get("consistency-token").and_then(|token| token.to_str().ok());
        self.note_token(token.map(str::to_owned));
    }

    /// Continues with a token. An answer without one is a commit whose position is unknown: a new
    /// session begins.
    fn note_token(&mut self, token: Option<String>) {
        if token.is_none() {
            self.session += CALLERS;
        }
        self.token = token;
    }

    /// Executes several appends, each with the etag of the list that was read.
    async fn execute(
        &mut self,
        number: u32,
        key: &str,
        began: &mut u64,
        steps: &mut Vec<Step>,
    ) -> Result<(), Failed> {
        let channel = self.channel().await?;
        let mut books = BookServiceClient::new(channel.clone());
        let mut requests = Vec::new();
        for (at, list) in some_lists(number).into_iter().enumerate() {
            let request = GetBookRequest { id: id(list), ..GetBookRequest::default() };
            let book = books.get_book(timed(request)).await?.into_inner();
            steps.push(Step::Read { list, values: values(&book) });
            let value = u64::from(number) * 10 + at as u64;
            steps.push(Step::Append { list, value });
            requests.push(any(&longer(book, value, true)));
        }
        // The etags make sure that the lists are still as read, so the transaction begins here.
        *began = self.now();
        let mut request = timed(ExecuteRequest { requests });
        request.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
        let mut transactions = TransactionServiceClient::new(channel);
        let limit = match rand::rng().random_bool(0.3) {
            true => Duration::from_millis(rand::rng().random_range(0..CANCEL_WITHIN)),
            false => TIMEOUT,
        };
        let executed = tokio::time::timeout(limit, transactions.execute(request)).await;
        self.note(executed.map_err(|_| Failed::Unknown)??.metadata());
        Ok(())
    }

    async fn begin(&mut self, begin: Begin, key: Option<&str>) -> Result<Led, Failed> {
        let (asks, stream) = mpsc::channel(1);
        let mut request = timed(ReceiverStream::new(stream));
        if let Some(key) = key {
            request.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
        }
        let mut client = TransactionServiceClient::new(self.channel().await?);
        let answers = client.transact(request).await?.into_inner();
        let mut led = Led { asks, answers };
        match led.ask(Ask::Begin(begin)).await? {
            Answer::Begun(_) => Ok(led),
            other => panic!("{other:?}"),
        }
    }

    /// Finds out whether the write under a key was applied, and fences the key if not.
    async fn settle(&mut self, key: &str) -> bool {
        let end = Instant::now() + SETTLED;
        loop {
            assert!(Instant::now() < end, "the outcome of {key} stays unknown");
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.connection = None;
            let Ok(channel) = self.channel().await else { continue };
            let request = GetOutcomeRequest { idempotency_key: key.to_owned(), fence: true };
            let asked = TransactionServiceClient::new(channel).get_outcome(timed(request)).await;
            let _ = asked.as_ref().map(|answer| self.note(answer.metadata()));
            match asked.map(|answer| answer.into_inner().outcome()) {
                Ok(Outcome::Committed) => return true,
                Ok(Outcome::Aborted) => return false,
                Ok(Outcome::InProgress) | Err(_) => {}
                Ok(other) => panic!("{other:?} of a fenced key"),
            }
        }
    }

    async fn channel(&mut self) -> Result<Channel, Failed> {
        if let Some(channel) = &self.connection {
            return Ok(channel.clone());
        }
        let address = self.address.borrow().clone();
        let endpoint = Endpoint::from_shared(address).expect("an address");
        let channel = endpoint.connect_timeout(TIMEOUT).connect().await;
        let channel = channel.map_err(|_| Failed::Unknown)?;
        Ok(self.connection.insert(channel).clone())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a short history")
    }
}

/// A transaction that is led.
struct Led {
    asks: mpsc::Sender<TransactRequest>,
    answers: Streaming<TransactResponse>,
}

impl Led {
    async fn ask(&mut self, ask: Ask) -> Result<Answer, Failed> {
        // The service may have ended the stream already, and the stream has the reason.
        drop(self.asks.send(TransactRequest { step: Some(ask) }).await);
        let answer = self.answers.message().await?.ok_or(Failed::Unknown)?;
        Ok(answer.step.expect("an answer to the step"))
    }

    /// Makes a call. An error ends the transaction, as its caller wants.
    async fn call(&mut self, request: Any) -> Result<Vec<u8>, Failed> {
        match self.ask(Ask::Request(request)).await? {
            Answer::Response(answer) => Ok(answer.value),
            Answer::Failure(_) => Err(Failed::Refused),
            other => panic!("{other:?}"),
        }
    }

    async fn read(&mut self, list: u32, steps: &mut Vec<Step>) -> Result<Book, Failed> {
        let request = GetBookRequest { id: id(list), ..GetBookRequest::default() };
        let answer = self.call(any(&request)).await?;
        let book = Book::decode(&*answer).expect("a book");
        steps.push(Step::Read { list, values: values(&book) });
        Ok(book)
    }

    async fn append(
        &mut self,
        book: Book,
        list: u32,
        value: u64,
        level: Level,
        steps: &mut Vec<Step>,
    ) -> Result<(), Failed> {
        steps.push(Step::Append { list, value });
        // With concurrent writers an update names the etag that it follows.
        let with_etag = level == Level::ReadCommitted;
        self.call(any(&longer(book, value, with_etag))).await.map(drop)
    }

    /// Commits, and returns the token of the resulting state.
    async fn commit(mut self) -> Result<String, Failed> {
        match self.ask(Ask::Commit(Commit {})).await? {
            Answer::Committed(committed) => Ok(committed.consistency_token),
            other => panic!("{other:?}"),
        }
    }
}

/// Some of the lists in use, in random order.
fn some_lists(number: u32) -> Vec<u32> {
    let mut random = rand::rng();
    let count = random.random_range(1..=3);
    let picked = rand::seq::index::sample(&mut random, LISTS as usize, count);
    let first = number / EACH;
    picked.iter().map(|at| first + u32::try_from(at).expect("a small number")).collect()
}

/// An update that appends a value to a list.
fn longer(book: Book, value: u64, with_etag: bool) -> UpdateBookRequest {
    let description = format!("{} {value}", book.description.unwrap_or_default());
    let etag = if with_etag { book.etag } else { String::new() };
    let book = Book { id: book.id, description: Some(description), etag, ..Book::default() };
    let update_mask = Some(FieldMask { paths: vec!["description".to_owned()] });
    UpdateBookRequest { book: Some(book), update_mask, allow_missing: false }
}

fn any<M: prost::Name>(message: &M) -> Any {
    Any::from_msg(message).expect("a message")
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

//! An interactive transaction (Transact).

use std::time::Duration;

use bookstore_proto::v1::{
    Begin, Begun, Commit, Committed, Rollback, Savepoint, TransactRequest, TransactResponse,
    transact_request::Step, transact_response::Step as Answer,
};
use prost::{Message, Name};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};
use uuid::Uuid;

use crate::{
    client::Client,
    error::{Error, REQUEST_ID},
    execute::{from_any, to_any},
    request::CallOptions,
    retry::{Backoff, jittered},
    token::Session,
};

/// The pauses between two runs of a transaction.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// An open transaction. Dropping it without a commit rolls it back.
///
/// It holds a connection of the database meanwhile, so the service bounds how long it may be open
/// and how long it may be idle between two steps (`transaction_timeout`,
/// `transaction_idle_timeout`). Use [`Client::execute`] where no step depends on an answer.
#[derive(Debug)]
pub struct Transaction {
    steps: mpsc::Sender<TransactRequest>,
    answers: Streaming<TransactResponse>,
    session: Session,
    request_id: Option<String>,
}

/// How a transaction began.
#[derive(Debug)]
pub enum Start {
    /// It is open for as long as [`Begun`] says.
    Open(Box<Transaction>, Begun),
    /// It was committed before under the same key.
    Replayed(Committed),
}

impl Transaction {
    /// Carries out the request of any method that doesn't stream, reads included. `A` is the
    /// response of that method.
    ///
    /// # Errors
    /// If the request is refused, the transaction is as it was before and can go on. Any other
    /// failure ends the transaction, and rolls it back.
    pub async fn call<R, A>(&mut self, request: &R) -> Result<A, Error>
    where
        R: Message + Name,
        A: Message + Name + Default,
    {
        match self.step(Step::Request(to_any(request))).await? {
            Answer::Response(any) => from_any(&any),
            other => Err(unexpected(&other)),
        }
    }

    /// Sets a savepoint: 1 to 50 letters, digits and underscores.
    ///
    /// # Errors
    /// If the name is another one, or the transaction has ended.
    pub async fn savepoint(&mut self, name: &str) -> Result<(), Error> {
        match self.step(Step::Savepoint(Savepoint { name: name.to_owned() })).await? {
            Answer::Saved(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Undoes what was done since a savepoint, which stays.
    ///
    /// # Errors
    /// If there is no such savepoint, or the transaction has ended.
    pub async fn rollback_to(&mut self, name: &str) -> Result<(), Error> {
        match self.step(Step::RollbackTo(Savepoint { name: name.to_owned() })).await? {
            Answer::RolledBackTo(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// If [`Error::may_have_happened`] says so, begin again with the same key to find out.
    pub async fn commit(mut self) -> Result<Committed, Error> {
        match self.step(Step::Commit(Commit {})).await? {
            Answer::Committed(committed) => {
                self.session.observe(&committed.consistency_token);
                Ok(committed)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Rolls back and waits until that has happened.
    ///
    /// # Errors
    /// If the connection broke; nothing has happened then either.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.step(Step::Rollback(Rollback {})).await.map(drop)
    }

    async fn step(&mut self, step: Step) -> Result<Answer, Error> {
        // If the stream has ended, its answers hold the reason.
        let _ = self.steps.send(TransactRequest { step: Some(step) }).await;
        let answer = self.answers.message().await.map_err(|status| {
            let mut error = Error::from(status);
            error.note_attempt(self.request_id.as_deref());
            error
        })?;
        match answer.and_then(|answer| answer.step) {
            Some(Answer::Failure(failure)) => {
                Err(Error::of_step(&failure, self.request_id.as_deref()))
            }
            Some(answer) => Ok(answer),
            None => {
                let mut error = Error::of_client(Code::Unavailable, "the stream ended too early");
                error.note_attempt(self.request_id.as_deref());
                Err(error)
            }
        }
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::of_client(Code::Internal, format!("the service answered another step: {answer:?}"))
}

impl Client {
    /// Begins a transaction. With a key, the transaction happens once under it.
    ///
    /// # Errors
    /// Those of every call; RESOURCE_EXHAUSTED (TRANSACTION_LIMIT) where too many are open.
    pub async fn begin(&self, begin: Begin, key: Option<Uuid>) -> Result<Start, Error> {
        let (steps, receiver) = mpsc::channel(1);
        // The channel is new and takes one.
        let _ = steps.try_send(TransactRequest { step: Some(Step::Begin(begin)) });
        let mut request = Request::new(ReceiverStream::new(receiver));
        if let Some(key) = key {
            request = request.idempotency_key(key);
        }
        let answer = self.transactions().transact(request).await?;
        let request_id = answer.metadata().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let request_id = request_id.map(str::to_owned);
        let session = self.session().clone();
        let answers = answer.into_inner();
        let mut transaction = Transaction { steps, answers, session, request_id };
        let answered = transaction.answers.message().await?.and_then(|answer| answer.step);
        match answered {
            Some(Answer::Begun(begun)) => Ok(Start::Open(Box::new(transaction), begun)),
            Some(Answer::Committed(committed)) => {
                transaction.session.observe(&committed.consistency_token);
                Ok(Start::Replayed(committed))
            }
            Some(Answer::Failure(failure)) => {
                Err(Error::of_step(&failure, transaction.request_id.as_deref()))
            }
            Some(other) => Err(unexpected(&other)),
            None => Err(Error::of_client(Code::Unavailable, "the stream ended too early")),
        }
    }

    /// Runs `work` in a transaction and commits it. After a serialization failure or a broken
    /// connection it runs `work` again in another transaction, for `within` at most. The
    /// transaction takes effect once, under a key of its own.
    ///
    /// `work` must do nothing outside of the transaction that can't be done twice.
    ///
    /// # Errors
    /// The error of `work`, after a rollback; that of the last run once `within` has passed.
    pub async fn transact<T>(
        &self,
        begin: Begin,
        within: Duration,
        work: impl AsyncFn(&mut Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let key = Uuid::now_v7();
        let over = tokio::time::Instant::now() + within;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        // The result of the run whose commit was sent last: no other run can have committed.
        let mut sent = None;
        loop {
            let run = self.run_once(begin, key, &work, &mut sent);
            let error = match tokio::time::timeout_at(over, run).await {
                Ok(Ok(())) => {
                    return sent.ok_or_else(|| {
                        Error::of_client(Code::Internal, "committed before any run of it")
                    });
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    let message = "the transaction's time is over";
                    let mut error = Error::of_client(Code::DeadlineExceeded, message);
                    if sent.is_some() {
                        error.note_attempt(None);
                    }
                    return Err(error.with_key(key));
                }
            };
            let pause = error.retry_delay().unwrap_or_default().max(jittered(backoff.pause()));
            if !error.is_transient() || tokio::time::Instant::now() + pause >= over {
                return Err(error.with_key(key));
            }
            sleep(pause).await;
        }
    }

    async fn run_once<T>(
        &self,
        begin: Begin,
        key: Uuid,
        work: &impl AsyncFn(&mut Transaction) -> Result<T, Error>,
        sent: &mut Option<T>,
    ) -> Result<(), Error> {
        let mut transaction = match self.begin(begin, Some(key)).await? {
            Start::Open(transaction, _) => transaction,
            Start::Replayed(_) => return Ok(()),
        };
        match work(&mut transaction).await {
            Ok(value) => {
                *sent = Some(value);
                transaction.commit().await.map(drop)
            }
            Err(error) => {
                // The stream may have ended already.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }
}

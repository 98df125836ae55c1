//! Transactions that their callers lead step by step.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use sea_orm::DbBackend;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    constraint,
    error::StoreError,
    idempotency::{self, KeyLock},
    pool::PooledConnection,
    position::Freshness,
    session::connection::{Access, Connection, TransactionState},
    store::Store,
    transaction::{Call, Committed, Write, commands::Begin},
};

/// The savepoint before the last write, to which a write that fails goes back.
const BEFORE_WRITE: &str = "before_write";

/// The most savepoints of the caller's own.
const MOST_SAVEPOINTS: usize = 100;

/// How many transactions there may be that their callers lead: half of the connections, so
/// that the other calls are served meanwhile.
pub(crate) fn slots(connections: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((connections / 2).max(1) as usize))
}

/// An open transaction. Dropped, it ends with its connection, and nothing was changed.
pub struct Transaction {
    pooled: PooledConnection,
    call: Call,
    /// The caller's savepoints, oldest first.
    savepoints: Vec<String>,
    /// Whether [`BEFORE_WRITE`] is there.
    has_written: bool,
    _key_lock: Option<KeyLock>,
    _slot: OwnedSemaphorePermit,
}

/// What beginning has come to.
pub enum Begun {
    /// A transaction to be led.
    Open(Box<Transaction>),
    /// Under its key it was committed before.
    Replayed(Committed),
}

/// Why a step was not done.
#[derive(Debug)]
pub enum StepError {
    /// It was refused; the transaction is as it was before.
    Refused(StoreError),
    /// The transaction can't go on.
    Ended(StoreError),
}

impl StepError {
    /// The same error of a part of the request: its fields stand behind this prefix.
    pub fn under(self, prefix: &str) -> Self {
        match self {
            Self::Refused(error) => Self::Refused(error.within(prefix)),
            ended => ended,
        }
    }
}

impl Store {
    /// Begins a transaction that ends by `call.deadline` at the latest. Waits at most `wait`
    /// for a slot among others of its kind. One that only reads may be led on any node that
    /// is fresh enough.
    ///
    /// # Errors
    /// [`StoreError::TransactionLimit`], those of a key, and what can happen to a connection.
    pub async fn begin(
        &self,
        call: Call,
        reads: Option<Freshness>,
        wait: Duration,
    ) -> Result<Begun, StoreError> {
        let key_lock = match &call.idempotency {
            Some(key) => Some(
                self.0.key_locks.take(call.principal.as_deref(), key.key, call.deadline).await?,
            ),
            None => None,
        };
        let slots = if reads.is_some() { &self.0.read_slots } else { &self.0.write_slots };
        let limit = call.deadline.remaining(wait);
        let slot = timeout(limit, slots.clone().acquire_owned()).await;
        let slot = slot.map_err(|_| StoreError::TransactionLimit)?;
        let slot = slot.map_err(|_| StoreError::internal("nothing closes the slots"))?;
        let pooled = match reads {
            Some(freshness) => self.reader(freshness, call.deadline).await?,
            None => self.0.topology.writer(call.deadline).await?.pooled,
        };
        call.attempts.note(pooled.node());
        pooled.set_deadline(call.deadline);
        pooled.set_meter(call.meter.clone());
        let key = call.idempotency.as_ref();
        let lock = key.map(|key| idempotency::lock(&call, key));
        let begin = Begin { isolation: call.isolation, read_only: reads.is_some(), lock };
        pooled.begin(begin).await.map_err(|error| match error {
            StoreError::LockTimeout(source) if lock.is_some() => StoreError::KeyInUse(source),
            error => error,
        })?;
        let has_written = false;
        let transaction = Transaction {
            pooled,
            call,
            savepoints: Vec::new(),
            has_written,
            _key_lock: key_lock,
            _slot: slot,
        };
        let Some(key) = transaction.call.idempotency.clone() else {
            return Ok(Begun::Open(Box::new(transaction)));
        };
        match idempotency::find(&transaction.pooled, &transaction.call, &key).await {
            Ok(None) => Ok(Begun::Open(Box::new(transaction))),
            Ok(Some(answer)) => {
                let done = transaction.end().await?;
                Ok(Begun::Replayed(Committed { answer, replayed: true, ..done }))
            }
            Err(error) => {
                transaction.roll_back().await;
                Err(error)
            }
        }
    }
}

impl Transaction {
    /// Whether it can't write.
    pub fn only_reads(&self) -> bool {
        self.pooled.access() == Access::ReadOnly
    }

    /// Carries a write out, whole or not at all, and gives its encoded response.
    ///
    /// # Errors
    /// Refused with what the operation says, broken constraints told by the request's fields.
    pub async fn write(&mut self, write: &mut dyn Write) -> Result<Vec<u8>, StepError> {
        write.prepare().await.map_err(StepError::Refused)?;
        self.begin_step();
        let before = self.has_written.then_some(BEFORE_WRITE);
        self.pooled.save(before, BEFORE_WRITE).await.map_err(StepError::Ended)?;
        self.has_written = true;
        let error = match write.apply(&self.pooled).await {
            Ok(answer) if self.pooled.state() == TransactionState::Transaction => {
                return Ok(answer);
            }
            Ok(_) => StoreError::internal("a statement failed and the operation went on"),
            Err(error) => error,
        };
        if error.ends_transaction() {
            return Err(StepError::Ended(error));
        }
        self.pooled.roll_back_to(BEFORE_WRITE).await.map_err(StepError::Ended)?;
        let error = constraint::explain(&self.pooled, write.constraint_checks(), error).await;
        Err(match self.pooled.state() {
            TransactionState::Transaction => StepError::Refused(error),
            _ => StepError::Ended(error),
        })
    }

    /// Asks something of the transaction's connection.
    ///
    /// # Errors
    /// What the question answers; the transaction goes on unless a statement failed.
    pub async fn read<T>(
        &mut self,
        question: impl for<'a> FnOnce(&'a Connection) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> Result<T, StepError> {
        self.begin_step();
        let answer = question(&self.pooled).await;
        answer.map_err(|error| match self.pooled.state() {
            TransactionState::Transaction if !error.ends_transaction() => StepError::Refused(error),
            _ => StepError::Ended(error),
        })
    }

    /// What the step before has read is answered.
    fn begin_step(&self) {
        if let Some(meter) = &self.call.meter {
            meter.reset();
        }
    }

    /// Sets a savepoint; one of the same name is hidden until this one is gone.
    ///
    /// # Errors
    /// Refused where there are too many.
    pub async fn save(&mut self, name: &str) -> Result<(), StepError> {
        if self.savepoints.len() == MOST_SAVEPOINTS {
            let description = format!("is one more than the {MOST_SAVEPOINTS} that there may be");
            return Err(refused_name(description));
        }
        // What comes after this must not stand inside the savepoint of a write before it.
        let before = std::mem::take(&mut self.has_written).then_some(BEFORE_WRITE);
        self.pooled.save(before, &own(name)).await.map_err(StepError::Ended)?;
        self.savepoints.push(name.to_owned());
        Ok(())
    }

    /// Undoes what was done since a savepoint, which stays.
    ///
    /// # Errors
    /// Refused where there is none of that name.
    pub async fn roll_back_to(&mut self, name: &str) -> Result<(), StepError> {
        let Some(at) = self.savepoints.iter().rposition(|saved| saved == name) else {
            return Err(refused_name("names no savepoint of this transaction".to_owned()));
        };
        self.pooled.roll_back_to(&own(name)).await.map_err(StepError::Ended)?;
        self.savepoints.truncate(at + 1);
        self.has_written = false;
        Ok(())
    }

    /// Commits. `answer` is what is kept under the call's key.
    ///
    /// # Errors
    /// What can happen to a commit. But for [`StoreError::CommitOutcomeUnknown`], nothing was
    /// changed.
    pub async fn commit(self, answer: Vec<u8>) -> Result<Committed, StoreError> {
        if let Some(key) = &self.call.idempotency
            && let Err(error) = idempotency::keep(&self.pooled, &self.call, key, &answer).await
        {
            self.roll_back().await;
            return Err(error);
        }
        Ok(Committed { answer, ..self.end().await? })
    }

    /// Undoes everything.
    pub async fn roll_back(self) {
        self.pooled.rollback().await;
    }

    async fn end(self) -> Result<Committed, StoreError> {
        let position = self.pooled.commit().await?.map(|it| it.on(self.pooled.timeline()));
        let (node, attempts) = (self.pooled.node(), self.call.attempts.count());
        Ok(Committed { answer: Vec::new(), position, node, attempts, replayed: false })
    }
}

/// A savepoint's name in the database: callers' are told from ours.
fn own(name: &str) -> String {
    format!("\"own_{name}\"")
}

fn refused_name(description: String) -> StepError {
    StepError::Refused(StoreError::Invalid(vec![crate::violation::FieldViolation::new(
        "name",
        description,
    )]))
}

impl Store {
    /// The longest pauses and lives that transactions may have which their callers lead: SQLite
    /// has one writer, which all others wait for.
    pub fn transaction_limits(&self, idle: Duration, total: Duration) -> (Duration, Duration) {
        match self.0.topology.nodes[0].connector.backend() {
            DbBackend::Sqlite => {
                (idle.min(Duration::from_millis(500)), total.min(Duration::from_secs(5)))
            }
            _ => (idle, total),
        }
    }
}

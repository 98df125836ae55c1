//! Interactive transactions.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    call::{Call, Committed},
    constraint,
    error::StoreError,
    idempotency::{answer, key_lock::KeyLock},
    pool::{
        commit_position::position_of_commits, options::MOST_DEAD_SESSIONS, pooled::PooledConnection,
    },
    position::Freshness,
    session::connection::{Connection, driver::Access, state::TransactionState},
    topology::{choose::Choice, nodes::Topology},
    transaction::{commands::Begin, operation::Write},
    violation::FieldViolation,
};

/// The savepoint before the last write. A write that fails is rolled back to it.
const BEFORE_WRITE: &str = "before_write";

/// How much longer than its caller may be silent a transaction may be idle in the database: a step
/// may wait here, for a password to be hashed.
const IDLE_MARGIN: Duration = Duration::from_secs(2);

/// How long a rollback may take. The database ends a transaction whose session is closed.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many savepoints a caller may set.
const MOST_SAVEPOINTS: usize = 100;

/// How many transactions callers may lead at the same time. There is a slot for half of the
/// connections, so that other calls get connections too.
pub(crate) struct Slots {
    write: Arc<Semaphore>,
    /// The same semaphore as `write` on PostgreSQL.
    read: Arc<Semaphore>,
}

impl Slots {
    /// One set of slots for reading and writing transactions.
    pub(crate) fn shared(connections: u32) -> Self {
        let slots = half(connections);
        Self { write: slots.clone(), read: slots }
    }

    /// Two sets of slots, by the connections for writing and for reading.
    pub(crate) fn separate(writers: u32, readers: u32) -> Self {
        Self { write: half(writers), read: half(readers) }
    }

    /// Takes a slot.
    ///
    /// # Errors
    /// [`StoreError::TransactionLimit`] if none is free within `limit`.
    async fn take(
        &self,
        only_reads: bool,
        limit: Duration,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let slots = if only_reads { &self.read } else { &self.write };
        let slot = timeout(limit, slots.clone().acquire_owned()).await;
        let slot = slot.map_err(|_| StoreError::TransactionLimit)?;
        slot.map_err(|_| StoreError::internal("the slots are closed"))
    }
}

fn half(connections: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((connections / 2).max(1) as usize))
}

/// An open transaction. Dropping it rolls it back.
pub struct Transaction {
    pooled: PooledConnection,
    call: Call,
    /// The caller's savepoints, oldest first.
    savepoints: Vec<String>,
    /// Whether [`BEFORE_WRITE`] is set.
    has_written: bool,
    _key_lock: Option<KeyLock>,
    _slot: OwnedSemaphorePermit,
}

/// The result of beginning a transaction.
pub enum Begun {
    /// An open transaction.
    Open(Box<Transaction>),
    /// A transaction under the same key was committed before. This is its result.
    Replayed(Committed),
}

/// Why a step failed.
#[derive(Debug)]
pub enum StepError {
    /// The step was refused. The transaction is as it was before the step.
    Refused(StoreError),
    /// The transaction has ended.
    Ended(StoreError),
}

impl StepError {
    /// The same error with this prefix before its field paths.
    pub fn under(self, prefix: &str) -> Self {
        match self {
            Self::Refused(error) => Self::Refused(error.within(prefix)),
            ended => ended,
        }
    }
}

/// Begins a transaction that a caller leads. `reads` is the freshness of one that only reads,
/// `wait` the time to wait for a slot, `idle` the longest time between two steps.
///
/// # Errors
/// [`StoreError::TransactionLimit`], those of a key, and those of a connection.
pub(crate) async fn begin(
    topology: &Topology,
    slots: &Slots,
    key_lock: Option<KeyLock>,
    call: Call,
    reads: Option<Freshness>,
    (wait, idle): (Duration, Duration),
) -> Result<Begun, StoreError> {
    // On SQLite, where there is one node, it waits for the open transaction's connection too.
    let writers = &topology.nodes[0].writers;
    let waiting = reads.is_none().then(|| writers.waiters.begin());
    let slot = slots.take(reads.is_some(), call.deadline.remaining(wait)).await?;
    drop(waiting);
    let key = call.idempotency.as_ref();
    let lock = key.map(|key| answer::lock(&call, key));
    let mut dead_sessions = 0;
    let pooled = loop {
        let choice = match reads {
            Some(freshness) => topology.reader(freshness, call.deadline, &[]).await?,
            None => topology.writer(call.deadline).await?,
        };
        let Choice { node, pooled } = choice;
        call.attempts.note(pooled.node());
        pooled.set_deadline(call.deadline);
        pooled.set_meter(call.meter.clone());
        let (isolation, idle) = (call.isolation, idle + IDLE_MARGIN);
        let begin = Begin { isolation, read_only: reads.is_some(), lock, idle };
        let is_primary = topology.is_primary(node);
        let begun = tokio::select! {
            biased;
            begun = pooled.begin(begin) => begun,
            () = topology.is_left(node, is_primary) => {
                Err(StoreError::Unavailable(DbErr::Custom("the node does not answer".into())))
            }
        };
        match begun {
            Ok(()) => break pooled,
            // The session had ended while it was idle.
            Err(error) if error.is_of_ended_session() && dead_sessions < MOST_DEAD_SESSIONS => {
                dead_sessions += 1;
            }
            Err(StoreError::LockTimeout(source)) if lock.is_some() => {
                return Err(StoreError::KeyInUse(source));
            }
            Err(error) => return Err(error),
        }
    };
    let transaction = Transaction {
        pooled,
        call,
        savepoints: Vec::new(),
        has_written: false,
        _key_lock: key_lock,
        _slot: slot,
    };
    let Some(key) = transaction.call.idempotency.clone() else {
        return Ok(Begun::Open(Box::new(transaction)));
    };
    match answer::find(&transaction.pooled, &transaction.call, &key).await {
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

/// The greatest idle time and duration of transactions that callers lead. On SQLite they are at
/// most 500 ms and 5 s, since all other writers wait for the transaction.
pub(crate) fn limits(backend: DbBackend, idle: Duration, total: Duration) -> (Duration, Duration) {
    match backend {
        DbBackend::Sqlite => {
            (idle.min(Duration::from_millis(500)), total.min(Duration::from_secs(5)))
        }
        _ => (idle, total),
    }
}

impl Transaction {
    /// Whether the transaction is read-only.
    pub fn only_reads(&self) -> bool {
        self.pooled.access() == Access::ReadOnly
    }

    /// Waits until the transaction has to end for the sake of others: on SQLite, where it holds
    /// the only connection that writes, from `share` on as soon as another write waits for it.
    pub async fn yields(&self, share: Instant) {
        if self.only_reads() || self.pooled.get_database_backend() != DbBackend::Sqlite {
            return std::future::pending().await;
        }
        sleep_until(share).await;
        self.pooled.others_wait().await;
    }

    /// Applies a write as a whole or not at all, and returns its encoded response.
    ///
    /// # Errors
    /// Refused with those of the operation, and with broken constraints by the request's fields.
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

    /// Runs a query on the transaction's connection.
    ///
    /// # Errors
    /// Those of the query. The transaction goes on unless a statement failed.
    pub async fn read<T>(
        &mut self,
        query: impl for<'a> FnOnce(&'a Connection) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> Result<T, StepError> {
        self.begin_step();
        let answer = query(&self.pooled).await;
        answer.map_err(|error| match self.pooled.state() {
            TransactionState::Transaction if !error.ends_transaction() => StepError::Refused(error),
            _ => StepError::Ended(error),
        })
    }

    /// The rows of the step before have been answered.
    fn begin_step(&self) {
        if let Some(meter) = &self.call.meter {
            meter.reset();
        }
    }

    /// Sets a savepoint. It hides an older one of the same name (PostgreSQL, SAVEPOINT).
    ///
    /// # Errors
    /// Refused with more than 100 savepoints.
    pub async fn save(&mut self, name: &str) -> Result<(), StepError> {
        if self.savepoints.len() == MOST_SAVEPOINTS {
            let description = format!("is one more than the {MOST_SAVEPOINTS} that there may be");
            return Err(refused_name(description));
        }
        // Releases the savepoint of the last write first, or this one would be nested in it.
        let before = std::mem::take(&mut self.has_written).then_some(BEFORE_WRITE);
        self.pooled.save(before, &own(name)).await.map_err(StepError::Ended)?;
        self.savepoints.push(name.to_owned());
        Ok(())
    }

    /// Rolls back to a savepoint, which stays set.
    ///
    /// # Errors
    /// Refused if the transaction has no savepoint of that name.
    pub async fn roll_back_to(&mut self, name: &str) -> Result<(), StepError> {
        let Some(at) = self.savepoints.iter().rposition(|saved| saved == name) else {
            return Err(refused_name("names no savepoint of this transaction".to_owned()));
        };
        self.pooled.roll_back_to(&own(name)).await.map_err(StepError::Ended)?;
        self.savepoints.truncate(at + 1);
        self.has_written = false;
        Ok(())
    }

    /// Commits. The store keeps `answer` under the call's key.
    ///
    /// # Errors
    /// What can happen to a commit. But for [`StoreError::CommitOutcomeUnknown`], nothing was
    /// changed.
    pub async fn commit(self, answer: Vec<u8>) -> Result<Committed, StoreError> {
        if let Some(key) = &self.call.idempotency
            && let Err(error) = answer::keep(&self.pooled, &self.call, key, &answer).await
        {
            self.roll_back().await;
            return Err(error);
        }
        Ok(Committed { answer, ..self.end().await? })
    }

    /// Rolls the transaction back.
    pub async fn roll_back(self) {
        // A late one goes on when the connection is dropped.
        let _ = timeout(ROLLBACK_TIMEOUT, self.pooled.rollback()).await;
    }

    async fn end(self) -> Result<Committed, StoreError> {
        let committed = self.pooled.commit().await;
        if let Err(StoreError::CommitOutcomeUnknown(_)) = committed {
            self.pooled.settle().await;
        }
        let (node, attempts) = (self.pooled.node(), self.call.attempts.count());
        let position = match committed? {
            Some(position) => Some(position.on(self.pooled.timeline())),
            None => position_of_commits(self.pooled).await,
        };
        Ok(Committed { answer: Vec::new(), position, node, attempts, replayed: false })
    }
}

/// The name of a caller's savepoint in the database. The prefix separates it from the store's.
fn own(name: &str) -> String {
    format!("\"own_{name}\"")
}

fn refused_name(description: String) -> StepError {
    StepError::Refused(StoreError::Invalid(vec![FieldViolation::new("name", description)]))
}

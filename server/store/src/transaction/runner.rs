//! Carries writes out: each in a task of its own, tried again where it collides.
//!
//! tonic drops a handler whose caller leaves, and a driver that is dropped while a transaction
//! begins or ends leaves a connection inside one that the next user would write into. A task
//! runs to its end even if the caller leaves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use rand::Rng;
use tokio::time::sleep;
use tracing::Instrument;

use crate::{
    constraint,
    deadline::Deadline,
    error::StoreError,
    idempotency::{self, KeyLock},
    pool::PooledConnection,
    position::Position,
    session::connection::Connection,
    telemetry::{meters::WRITE_RETRIES, traces},
    topology::{Choice, Topology},
    transaction::{Call, Committed, Write, commands::Begin},
};

/// How long a write whose caller has no deadline is tried again, unless no statement may run
/// that long.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest pause after the first collision; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Before a lost primary's successor is looked for.
const LOST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause there is.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Carries out a write on a connection of its own, even if the caller leaves. `turn` is the place
/// of its key among calls of this process.
pub(crate) async fn carry_out(
    topology: Arc<Topology>,
    choice: Choice,
    call: Call,
    write: Box<dyn Write>,
    key_lock: Option<KeyLock>,
) -> Result<Committed, StoreError> {
    let span = traces::operation(write.name());
    let task = tokio::spawn(
        async move {
            let (done, node) = on_primaries(&topology, choice, &call, write.as_ref()).await;
            // A duplicate request that waits for the key lock finds the connection free.
            drop(key_lock);
            let Done { answer, position, replayed } = done?;
            Ok(Committed { answer, position, node, attempts: call.attempts.count(), replayed })
        }
        .instrument(span),
    );
    match task.await {
        Ok(result) => result,
        Err(failure) => Err(StoreError::internal(format!("the write's task ended: {failure}"))),
    }
}

/// Tries on the primary, and on the next one where that is lost before the write was committed, or
/// where the write's key tells what became of it.
async fn on_primaries(
    topology: &Topology,
    mut choice: Choice,
    call: &Call,
    write: &dyn Write,
) -> (Result<Done, StoreError>, Arc<str>) {
    let mut end = None;
    let mut unknown = None;
    loop {
        let Choice { node, pooled } = choice;
        let done = attempts(&pooled, call, write).await;
        let name = pooled.node();
        let done = match done {
            Ok(done) => {
                let position = done.position.map(|it| it.on(pooled.timeline()));
                return (Ok(Done { position, ..done }), name);
            }
            // What can't be asked now says nothing of the commit before, which may have happened.
            Err(error) if error.ends_transaction() && !is_settled(&error) => {
                Err(unknown.take().unwrap_or(error))
            }
            done => done,
        };
        drop(pooled);
        let again = match &done {
            Err(StoreError::Unavailable(_)) => true,
            Err(StoreError::CommitOutcomeUnknown(_)) => call.kept_key().is_some(),
            _ => false,
        };
        // From the first loss on: the time that the write took before is not the search's.
        let end = *end.get_or_insert_with(|| {
            Deadline::after(call.deadline.remaining(topology.options.failover_wait))
        });
        if !again || topology.is_single() || end.has_passed() {
            return (done, name);
        }
        topology.nodes[node].wake.notify_one();
        WRITE_RETRIES.add(1, &[KeyValue::new("reason", "primary-lost")]);
        tracing::info!("the primary was lost: trying the next one");
        sleep(LOST_PAUSE).await;
        choice = match topology.writer(end).await {
            Ok(choice) => choice,
            // What the write came to says more.
            Err(_) => return (done, name),
        };
        unknown = done.err().filter(|it| matches!(it, StoreError::CommitOutcomeUnknown(_)));
    }
}

/// Whether an error tells what became of the key: under it this write has not happened.
fn is_settled(error: &StoreError) -> bool {
    matches!(error, StoreError::KeyFenced | StoreError::KeyReused)
}

/// What an attempt came to.
struct Done {
    answer: Vec<u8>,
    position: Option<Position>,
    replayed: bool,
}

/// Tries until the write is done, or can't be, or its time is over.
async fn attempts(
    connection: &PooledConnection,
    call: &Call,
    write: &dyn Write,
) -> Result<Done, StoreError> {
    let end = match call.deadline {
        Deadline::NONE => Deadline::after(RETRY_TIMEOUT.min(connection.command_timeout())),
        deadline => deadline,
    };
    let began = Instant::now();
    let mut prepared_anew = false;
    let mut longest = FIRST_PAUSE;
    loop {
        let attempt_number = call.attempts.note(connection.node());
        let error = match attempt(connection, call, write).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if connection.take_stale() && !prepared_anew {
            // The schema changed under a prepared statement, and nothing was changed.
            connection.forget_statements().await;
            prepared_anew = true;
            continue;
        }
        if !error.is_collision() {
            return Err(error);
        }
        // Between nothing and the longest, so that those who collided don't meet again.
        let pause = rand::rng().random_range(Duration::ZERO..=longest);
        if pause >= end.remaining(RETRY_TIMEOUT) {
            return Err(error);
        }
        let reason = match &error {
            StoreError::LockTimeout(_) => "lock-timeout",
            _ => "conflict",
        };
        WRITE_RETRIES.add(1, &[KeyValue::new("reason", reason)]);
        tracing::info!(
            attempt = attempt_number,
            error = error.report(),
            waited_ms = began.elapsed().as_millis(),
            "trying again"
        );
        sleep(pause).await;
        longest = (longest * 2).min(LONGEST_PAUSE);
    }
}

/// Begin, apply, commit; or roll back and find out what was at fault.
async fn attempt(
    connection: &Connection,
    call: &Call,
    write: &dyn Write,
) -> Result<Done, StoreError> {
    connection.set_deadline(call.deadline);
    if let Some(meter) = &call.meter {
        meter.reset();
    }
    connection.set_meter(call.meter.clone());
    let lock = call.kept_key().map(|key| idempotency::lock(call, key));
    let begin = Begin { isolation: call.isolation, read_only: false, lock };
    connection.begin(begin).await.map_err(|error| match error {
        // Nothing else is waited for so early.
        StoreError::LockTimeout(source) if lock.is_some() => StoreError::KeyInUse(source),
        StoreError::StatementTimeout(_) if call.deadline.has_passed() => {
            StoreError::DeadlineExceeded
        }
        error => error,
    })?;
    match applied(connection, call, write).await {
        Ok(done) if call.validate_only => {
            connection.rollback().await;
            Ok(done)
        }
        Ok(done) => {
            let position = connection.commit().await?;
            Ok(Done { position, ..done })
        }
        Err(error) => {
            connection.rollback().await;
            connection.set_deadline(call.deadline);
            Err(match explained(connection, call, write, error).await {
                // It was the caller's time that the database held the statement to.
                StoreError::StatementTimeout(_) if call.deadline.has_passed() => {
                    StoreError::DeadlineExceeded
                }
                error => error,
            })
        }
    }
}

/// An error that names the values at fault, if that can be found out.
async fn explained(
    connection: &Connection,
    call: &Call,
    write: &dyn Write,
    error: StoreError,
) -> StoreError {
    let is_broken = matches!(error, StoreError::Constraint { .. });
    let Some(way) = write.way_to_failure().filter(|_| is_broken) else {
        return constraint::explain(connection, write.constraint_checks(), error).await;
    };
    // What came before has to be there again, or values would seem free that it had taken.
    let again = async {
        let isolation = call.isolation;
        connection.begin(Begin { isolation, read_only: false, lock: None }).await?;
        way.retrace(connection).await
    };
    let error = match again.await {
        Ok(()) => constraint::explain(connection, write.constraint_checks(), error).await,
        // Others have changed something since, or the time is over.
        Err(other) => other,
    };
    connection.rollback().await;
    error
}

/// Applies the write unless it has happened under its key already, and keeps its answer there.
async fn applied(
    connection: &Connection,
    call: &Call,
    write: &dyn Write,
) -> Result<Done, StoreError> {
    let done = |answer, replayed| Done { answer, position: None, replayed };
    let Some(key) = call.kept_key() else {
        let answer = write.apply(connection).await?;
        // The caller was answered that its time is over: what was done is rolled back.
        return match call.deadline.has_passed() {
            true => Err(StoreError::DeadlineExceeded),
            false => Ok(done(answer, false)),
        };
    };
    if let Some(answer) = idempotency::find(connection, call, key).await? {
        return Ok(done(answer, true));
    }
    let answer = write.apply(connection).await?;
    if call.deadline.has_passed() {
        return Err(StoreError::DeadlineExceeded);
    }
    idempotency::keep(connection, call, key, &answer).await?;
    Ok(done(answer, false))
}

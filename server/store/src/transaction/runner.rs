//! Runs writes: each in a task of its own, repeated after a collision.
//!
//! tonic drops the future of a handler whose caller leaves. A driver's future that is dropped
//! during BEGIN or COMMIT leaves its connection inside a transaction. A task runs to its end in
//! either case.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use rand::Rng;
use sea_orm::DbErr;
use tokio::time::sleep;

use crate::{
    call::{Call, Committed},
    deadline::Deadline,
    error::StoreError,
    idempotency::{answer, key_lock::KeyLock},
    pool::{
        commit_position::position_of_commits, options::MOST_DEAD_SESSIONS, pooled::PooledConnection,
    },
    serving_node::ServingNode,
    session::connection::Connection,
    telemetry::{meters::WRITE_RETRIES, traces},
    topology::{choose::Choice, nodes::Topology},
    transaction::{
        attempt::{Done, explained, in_words_of},
        autocommit,
        commands::{Begin, LONGEST_IDLE},
        operation::Write,
    },
};

/// How long the store repeats a write without a deadline, unless the statement timeout is
/// shorter.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest pause after the first collision; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The pause before the next primary is tried.
const LOST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Runs a write in a task of its own, which holds the key lock until the outcome is known.
pub(crate) async fn run(
    topology: Arc<Topology>,
    choice: Choice,
    call: Call,
    write: Box<dyn Write>,
    key_lock: Option<KeyLock>,
) -> Result<Committed, StoreError> {
    let name = write.name();
    let observer = call.observer.clone();
    // Before the task runs: a caller that leaves now leaves a write behind.
    if let Some(observer) = &observer {
        observer.begun();
    }
    let task = tokio::spawn(traces::in_operation(name, async move {
        let (done, node) = on_primaries(&topology, choice, &call, write.as_ref()).await;
        // Released after the connection, which a waiting duplicate may need.
        drop(key_lock);
        let attempts = call.attempts.count();
        let result = done.map(|Done { answer, position, replayed }| Committed {
            answer,
            position,
            node,
            attempts,
            replayed,
        });
        if let Some(observer) = &observer {
            observer.ended(&result);
        }
        result
    }));
    match task.await {
        Ok(result) => result,
        Err(failure) => Err(StoreError::internal(format!("the write's task ended: {failure}"))),
    }
}

/// Tries on the primary, and on the next one where that is lost before the write was committed, or
/// where the write's key tells what became of it. A single node is tried again on another session.
async fn on_primaries(
    topology: &Topology,
    mut choice: Choice,
    call: &Call,
    write: &dyn Write,
) -> (Result<Done, StoreError>, ServingNode) {
    let mut end = None;
    let mut unknown = None;
    let mut dead_sessions = 0;
    loop {
        let Choice { node, pooled } = choice;
        let done = attempts(topology, node, &pooled, call, write).await;
        let name = pooled.node();
        if let Err(StoreError::CommitOutcomeUnknown(_)) = done {
            pooled.settle().await;
        }
        let done = match done {
            Ok(done) => {
                let position = match done.position {
                    Some(position) => Some(position.on(pooled.timeline())),
                    None if call.validate_only => None,
                    None => position_of_commits(pooled).await,
                };
                return (Ok(Done { position, ..done }), name);
            }
            // An error of this query says nothing about the commit before, which may have happened.
            Err(error) if error.ends_transaction() && !is_settled(&error) => {
                Err(unknown.take().unwrap_or(error))
            }
            done => done,
        };
        // It has waited for the primary to answer, as long as for another one.
        let has_waited = topology.is_silent(node)
            && !pooled.is_evicted()
            && matches!(done, Err(StoreError::Unavailable(_)));
        drop(pooled);
        let has_ended = done.as_ref().is_err_and(StoreError::is_of_ended_session);
        let again = match &done {
            Err(StoreError::Unavailable(_)) => true,
            Err(StoreError::CommitOutcomeUnknown(_)) => call.stored_key().is_some(),
            _ => false,
        };
        // From the first loss on: the time that the write took before is not the search's.
        let end = *end.get_or_insert_with(|| {
            Deadline::after(call.deadline.remaining(topology.options.failover_wait))
        });
        if !again || end.has_passed() || (has_waited && !has_ended) {
            return (done, name);
        }
        if topology.is_single() {
            // The session may have ended while it was idle. The server itself may be well.
            if !has_ended || dead_sessions == MOST_DEAD_SESSIONS {
                return (done, name);
            }
            dead_sessions += 1;
            WRITE_RETRIES.add(1, &[KeyValue::new("reason", "session-lost")]);
            tracing::info!("the session was lost: trying another one");
        } else {
            topology.nodes[node].wake.notify_one();
            WRITE_RETRIES.add(1, &[KeyValue::new("reason", "primary-lost")]);
            tracing::info!("the primary was lost: trying the next one");
            sleep(LOST_PAUSE).await;
        }
        choice = match topology.writer(end).await {
            Ok(choice) => choice,
            // The write's own error has more information.
            Err(_) => return (done, name),
        };
        unknown = done.err().filter(|it| matches!(it, StoreError::CommitOutcomeUnknown(_)));
    }
}

/// Whether an error proves that this write has not happened under its key.
fn is_settled(error: &StoreError) -> bool {
    matches!(error, StoreError::KeyFenced | StoreError::KeyReused)
}

/// Attempts the write until it succeeds, fails for good, or its time is over.
async fn attempts(
    topology: &Topology,
    node: usize,
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
        let attempted = if autocommit::is_possible(connection, call, write) {
            autocommit::attempt(connection, call, write).await
        } else {
            attempt(connection, topology.is_left(node, true), call, write).await
        };
        let error = match attempted {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if connection.take_stale() && !prepared_anew {
            // SQLSTATE 0A000: the schema has changed since a statement was prepared. Nothing was
            // changed.
            connection.forget_statements().await;
            prepared_anew = true;
            continue;
        }
        if !error.is_collision() {
            return Err(error);
        }
        // A random pause, so that the same writes don't collide again.
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

/// Begins, applies and commits; or rolls back and explains the error. If `silent` ends before the
/// transaction has begun, nothing is changed.
async fn attempt(
    connection: &Connection,
    silent: impl Future<Output = ()>,
    call: &Call,
    write: &dyn Write,
) -> Result<Done, StoreError> {
    connection.set_deadline(call.deadline);
    if let Some(meter) = &call.meter {
        meter.reset();
    }
    connection.set_meter(call.meter.clone());
    let lock = call.stored_key().map(|key| answer::lock(call, key));
    let begin = Begin { isolation: call.isolation, read_only: false, lock, idle: LONGEST_IDLE };
    let begun = tokio::select! {
        biased;
        begun = connection.begin(begin) => begun,
        () = silent => Err(StoreError::Unavailable(DbErr::Custom("the primary does not answer".into()))),
    };
    begun.map_err(|error| match error {
        // BEGIN waits for no other lock.
        StoreError::LockTimeout(source) if lock.is_some() => StoreError::KeyInUse(source),
        error => in_words_of(call, error),
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
            Err(in_words_of(call, explained(connection, call, write, error).await))
        }
    }
}

/// Applies the write and stores its answer under its key, unless an answer is stored already.
async fn applied(
    connection: &Connection,
    call: &Call,
    write: &dyn Write,
) -> Result<Done, StoreError> {
    let done = |answer, replayed| Done { answer, position: None, replayed };
    let Some(key) = call.stored_key() else {
        let answer = write.apply(connection).await?;
        // The caller has got DEADLINE_EXCEEDED, so the write must not be committed.
        return match call.deadline.has_passed() {
            true => Err(StoreError::DeadlineExceeded),
            false => Ok(done(answer, false)),
        };
    };
    if let Some(answer) = answer::find(connection, call, key).await? {
        return Ok(done(answer, true));
    }
    let answer = write.apply(connection).await?;
    if call.deadline.has_passed() {
        return Err(StoreError::DeadlineExceeded);
    }
    answer::keep(connection, call, key, &answer).await?;
    Ok(done(answer, false))
}

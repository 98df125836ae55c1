//! The checkout: a caller waits for a permit, then takes an idle connection or opens one.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    deadline::Deadline,
    error::StoreError,
    pool::{
        idle::{Candidate, IdleList},
        pooled::PooledConnection,
        shared::Pool,
    },
    session::{
        connection::{Connection, driver::Access, membership::PoolMembership},
        limit::{is_late_opening, is_of_limit, late_opening},
    },
};

/// How long the ping of an idle connection may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest time between two searches of a caller that no return has woken: another caller
/// tries an opening.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// How long an opening may take before its caller takes a connection of the other access too.
const PROMPT: Duration = Duration::from_millis(50);

impl Pool {
    /// Checks out a connection: an idle one, or a new one while there is room for it. If the server
    /// refuses a new one because of its limit, or lets it wait, the call takes one that returns, of
    /// either access.
    ///
    /// # Errors
    /// [`StoreError::PoolTimeout`] if none is free in time, [`StoreError::DeadlineExceeded`],
    /// [`StoreError::Unavailable`] if a new one can't be opened.
    pub(crate) async fn check_out(
        self: &Arc<Self>,
        access: Access,
        deadline: Deadline,
    ) -> Result<PooledConnection, StoreError> {
        let began = Instant::now();
        let limit = deadline.remaining(self.options.timeout);
        let late = |otherwise: StoreError| match deadline.has_passed() {
            true => StoreError::DeadlineExceeded,
            false => otherwise,
        };
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => Ok(Ok(permit)),
            Err(_) => {
                let _waiting = self.waiters.begin();
                timeout(limit, self.permits.clone().acquire_owned()).await
            }
        };
        // Waits that timed out count too: they show that the pool is too small.
        self.waits.record(began.elapsed().as_secs_f64(), || self.labels.clone());
        let Ok(permit) = permit else {
            let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Err(late(StoreError::PoolTimeout { waited_ms }));
        };
        let mut permit = permit.map_err(|_| StoreError::internal("the pool is closed"))?;
        let mut opening: Option<PendingOpening> = None;
        let mut refusal = None;
        loop {
            let mut returned = pin!(self.returned.notified());
            let patience = opening.as_ref().map(|opening| opening.began.elapsed() < PROMPT);
            let mut found = self.idle_list().find(access, &self.options, patience);
            if matches!(found, Candidate::Wait(_)) {
                // A return between the search and the wait would be missed otherwise.
                returned.as_mut().enable();
                found = self.idle_list().find(access, &self.options, patience);
            }
            let pause = match found {
                Candidate::Ready(connection) => {
                    connection.reset();
                    return Ok(PooledConnection::new(self.clone(), permit, connection));
                }
                Candidate::NeedsPing(connection) | Candidate::Switch(connection) => {
                    match self.clone().revived(connection, permit, access, deadline).await? {
                        Ok(pooled) => return Ok(pooled),
                        Err(kept) => permit = kept,
                    }
                    continue;
                }
                Candidate::Replace(old) => {
                    opening = Some(self.clone().open_in_background(access, Some(old)));
                    PROMPT
                }
                Candidate::OpenNew => {
                    opening = Some(self.clone().open_in_background(access, None));
                    PROMPT
                }
                Candidate::Wait(pause) => pause,
            };
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Err(late(match refusal {
                    // The pool has no connection that could have returned.
                    Some(refusal) if self.is_empty() => refusal,
                    None if self.is_empty() => late_opening(),
                    _ => StoreError::PoolTimeout { waited_ms },
                }));
            }
            let pause = sleep(pause.max(SHORTEST_WAIT).min(left));
            let opened = async {
                match &mut opening {
                    Some(opening) => (&mut opening.task).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                ended = opened => ended,
                () = returned => continue,
                () = pause => continue,
            };
            opening = None;
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) if is_of_limit(&error) => refusal = Some(error),
                Ok(Err(error)) => return Err(late(error)),
                Err(failure) => return Err(StoreError::internal(format!("opening: {failure}"))),
            }
        }
    }

    /// Checks out a connection that needs a round trip first: a ping, or another access. In a task
    /// of its own, so that a caller that stops waiting doesn't drop it half-way.
    ///
    /// # Errors
    /// [`StoreError::DeadlineExceeded`]. Returns the permit if the connection doesn't answer.
    async fn revived(
        self: Arc<Self>,
        connection: Connection,
        permit: OwnedSemaphorePermit,
        access: Access,
        deadline: Deadline,
    ) -> Result<Result<PooledConnection, OwnedSemaphorePermit>, StoreError> {
        let slot = Opening::of(&self, false);
        let task = tokio::spawn(async move {
            let answer = timeout(PING_TIMEOUT, connection.with_access(access)).await;
            match answer {
                Ok(Ok(connection)) => {
                    slot.done();
                    connection.reset();
                    Ok(PooledConnection::new(self, permit, connection))
                }
                Ok(Err(broken)) => {
                    self.drop_connection(broken);
                    Err(permit)
                }
                Err(_) => Err(permit),
            }
        });
        match timeout(deadline.remaining(Duration::MAX), task).await {
            Ok(Ok(revived)) => Ok(revived),
            Ok(Err(failure)) => Err(StoreError::internal(format!("a ping: {failure}"))),
            Err(_) => Err(StoreError::DeadlineExceeded),
        }
    }

    /// Opens a connection for the idle list, in a slot that is taken already. Its caller takes it, or
    /// one that returns before.
    fn open_in_background(
        self: Arc<Self>,
        access: Access,
        old: Option<Connection>,
    ) -> PendingOpening {
        let slot = Opening::of(&self, true);
        let task = tokio::spawn(async move {
            // Closed before the new one is opened, so that the database doesn't see more sessions
            // than the pool may have.
            if let Some(old) = old {
                old.close().await;
            }
            match self.opened(access).await {
                Ok(connection) => {
                    slot.done();
                    self.idle_list().limit.opened();
                    match connection.is_evicted() {
                        true => self.discard(connection),
                        false => self.put_back(connection),
                    }
                    Ok(())
                }
                Err(error) => {
                    // Others are answered: the server, or a pooler, lets this one wait.
                    let is_queued = is_late_opening(&error) && !self.is_empty();
                    match is_of_limit(&error) || is_queued {
                        true => self.idle_list().limit.refused(Instant::now()),
                        false => self.lost.notify_one(),
                    }
                    Err(error)
                }
            }
        });
        PendingOpening { task, began: Instant::now() }
    }

    /// Opens a connection of the current generation.
    async fn opened(&self, access: Access) -> Result<Connection, StoreError> {
        let current = self.generation.subscribe();
        let generation = *current.borrow();
        let mut evicted = current.clone();
        let opened = async {
            tokio::select! {
                opened = self.connector.open(access) => opened,
                // The pool has evicted this generation.
                _ = evicted.wait_for(|current| *current != generation) => {
                    Err(StoreError::Unavailable(DbErr::Custom("the node is gone".into())))
                }
            }
        };
        let opened = timeout(self.options.timeout, opened).await;
        let opened = opened.unwrap_or_else(|_| Err(late_opening()));
        let membership = PoolMembership::new(generation, current, self.lifetime());
        opened.map(|connection| connection.with_membership(membership))
    }
}

/// An opening that a caller has begun. It goes on without the caller.
struct PendingOpening {
    task: JoinHandle<Result<(), StoreError>>,
    began: Instant,
}

/// A slot for a connection that is being opened, or pinged. Dropping it frees the slot.
struct Opening {
    pool: Option<Arc<Pool>>,
    /// Whether it is a new connection, which the server's limit may refuse.
    is_new: bool,
}

impl Opening {
    /// A slot that is taken already.
    fn of(pool: &Arc<Pool>, is_new: bool) -> Self {
        pool.idle_list().opening += 1;
        Self { pool: Some(pool.clone()), is_new }
    }

    /// Keeps the slot: the connection is open.
    fn done(mut self) {
        if let Some(pool) = self.pool.take() {
            self.end(&mut pool.idle_list());
        }
    }

    fn end(&self, idle_list: &mut IdleList) {
        idle_list.opening -= 1;
        if self.is_new {
            idle_list.limit.ended();
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            let mut idle_list = pool.idle_list();
            idle_list.open -= 1;
            self.end(&mut idle_list);
            drop(idle_list);
            pool.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::{
        pool::PoolOptions,
        session::{connect::Connector, control::ControlConnection, statement_log::StatementLog},
    };

    #[test]
    fn a_ping_does_not_end_the_opening_that_is_being_tried() {
        let connector = Connector::new("sqlite::memory:", StatementLog::default(), PING_TIMEOUT);
        let connector = connector.expect("a connector");
        let control = Arc::new(ControlConnection::new(connector.clone()));
        let pool =
            Pool::new("node", connector, control, PoolOptions::default(), Arc::<Notify>::default());
        let begin = Instant::now();
        let later = begin + Duration::from_secs(2);
        pool.idle_list().open = 3;
        pool.idle_list().limit.refused(begin);
        assert!(pool.idle_list().limit.allows(later));
        let tried = Opening::of(&pool, true);
        Opening::of(&pool, false).done();
        drop(Opening::of(&pool, false));
        assert!(!pool.idle_list().limit.allows(later), "one at a time");
        drop(tried);
        assert!(pool.idle_list().limit.allows(later), "it has ended");
        let idle_list = pool.idle_list();
        assert_eq!((idle_list.open, idle_list.opening), (1, 0));
    }
}

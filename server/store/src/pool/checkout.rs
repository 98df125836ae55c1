//! The checkout: a caller waits for a permit, then takes an idle connection or opens one.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    deadline::Deadline,
    error::StoreError,
    pool::{idle::Candidate, pooled::PooledConnection, shared::Pool},
    session::{
        connection::{Connection, driver::Access, membership::PoolMembership},
        limit::is_of_limit,
    },
    telemetry::meters::POOL_WAIT,
};

/// How long the ping of an idle connection may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest time between two searches of a caller that no return has woken: another caller
/// tries an opening.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// A caller that waits for a permit. It counts until this is dropped.
struct PermitWaiter<'a>(&'a AtomicUsize);

impl<'a> PermitWaiter<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for PermitWaiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// Checks out a connection: an idle one, or a new one while there is room for it. If the server
    /// refuses a new one because of its limit, the call waits for one that returns, of either
    /// access.
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
        let waiting = PermitWaiter::begin(&self.waiting);
        let permit = timeout(limit, self.permits.clone().acquire_owned()).await;
        drop(waiting);
        // Waits that timed out count too: they show that the pool is too small.
        POOL_WAIT.record(began.elapsed().as_secs_f64(), &self.labels);
        let Ok(permit) = permit else {
            let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Err(late(StoreError::PoolTimeout { waited_ms }));
        };
        let mut permit = permit.map_err(|_| StoreError::internal("the pool is closed"))?;
        let mut refusal = None;
        loop {
            let mut returned = pin!(self.returned.notified());
            let mut found = self.idle_list().find(access, &self.options);
            if matches!(found, Candidate::Wait(_)) {
                // A return between the search and the wait would be missed otherwise.
                returned.as_mut().enable();
                found = self.idle_list().find(access, &self.options);
            }
            let Candidate::Wait(pause) = found else {
                match self.clone().connect(found, permit, access, deadline).await {
                    Ok(pooled) => return Ok(pooled),
                    Err((error, kept)) => match kept.filter(|_| is_of_limit(&error)) {
                        Some(kept) => (permit, refusal) = (kept, Some(error)),
                        None => return Err(error),
                    },
                }
                continue;
            };
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Err(late(match refusal {
                    // The pool has no connection that could have returned.
                    Some(refusal) if self.idle_list().open == 0 => refusal,
                    _ => StoreError::PoolTimeout { waited_ms },
                }));
            }
            let pause = pause.max(SHORTEST_WAIT).min(left);
            let _ = timeout(pause, returned).await;
        }
    }

    /// Makes a connection of a candidate, in a task of its own, so that a caller that stops waiting
    /// doesn't drop a half-opened connection. Dropping the result returns the connection to the idle
    /// list.
    ///
    /// # Errors
    /// With the permit, if the server has refused the connection.
    async fn connect(
        self: Arc<Self>,
        found: Candidate,
        permit: OwnedSemaphorePermit,
        access: Access,
        deadline: Deadline,
    ) -> Result<PooledConnection, (StoreError, Option<OwnedSemaphorePermit>)> {
        let pooled = |pool: Arc<Self>, permit, connection: Connection| {
            connection.reset();
            PooledConnection::new(pool, permit, connection)
        };
        let found = match found {
            Candidate::Ready(connection) => return Ok(pooled(self, permit, connection)),
            other => other,
        };
        let slot = Opening(Some(self.clone()));
        let opening = tokio::spawn(async move {
            let pool = self;
            match found {
                Candidate::NeedsPing(connection) => {
                    let answers = timeout(PING_TIMEOUT, connection.recover()).await;
                    if answers.is_ok_and(|answer| answer.is_ok()) {
                        slot.done();
                        return Ok(pooled(pool, permit, connection));
                    }
                    pool.drop_connection(connection);
                }
                Candidate::Switch(connection) => {
                    let switched = timeout(PING_TIMEOUT, connection.switched(access)).await;
                    if let Ok(Ok(connection)) = switched {
                        slot.done();
                        return Ok(pooled(pool, permit, connection));
                    }
                }
                // Closed before the new one is opened, so that the database doesn't see more
                // sessions than the pool may have.
                Candidate::Replace(old) => old.close().await,
                Candidate::Ready(_) | Candidate::OpenNew | Candidate::Wait(_) => {}
            }
            match pool.opened(access).await {
                Ok(connection) => {
                    slot.done();
                    pool.idle_list().limit.opened();
                    Ok(pooled(pool, permit, connection))
                }
                Err(error) => {
                    match is_of_limit(&error) {
                        true => pool.idle_list().limit.refused(Instant::now()),
                        false => pool.lost.notify_one(),
                    }
                    Err((error, Some(permit)))
                }
            }
        });
        match timeout(deadline.remaining(Duration::MAX), opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(failure)) => Err((StoreError::internal(format!("opening: {failure}")), None)),
            Err(_) => Err((StoreError::DeadlineExceeded, None)),
        }
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
        let late = || DbErr::Custom("opening a connection took too long".into());
        let opened = opened.unwrap_or_else(|_| Err(StoreError::Unavailable(late())));
        let membership = PoolMembership::new(generation, current, self.lifetime());
        opened.map(|connection| connection.with_membership(membership))
    }
}

/// A slot for a connection that is being opened. Dropping it frees the slot.
struct Opening(Option<Arc<Pool>>);

impl Opening {
    /// Keeps the slot: the connection is open.
    fn done(mut self) {
        if let Some(pool) = self.0.take() {
            pool.idle_list().limit.ended();
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            let mut idle_list = pool.idle_list();
            idle_list.open -= 1;
            idle_list.limit.ended();
            drop(idle_list);
            pool.returned.notify_one();
        }
    }
}

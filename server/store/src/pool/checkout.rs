//! The checkout: a caller waits for a permit, then takes an idle connection or opens one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use tokio::time::timeout;

use crate::{
    deadline::Deadline,
    error::StoreError,
    pool::{idle::Candidate, pooled::PooledConnection, shared::Pool},
    session::connection::{Connection, driver::Access, membership::PoolMembership},
    telemetry::meters::POOL_WAIT,
};

/// How long the ping of an idle connection may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

impl Pool {
    /// Checks out a connection: an idle one, or a new one while there is room for it.
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
        POOL_WAIT.record(began.elapsed().as_secs_f64(), &self.labels);
        let Ok(permit) = permit else {
            let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Err(late(StoreError::PoolTimeout { waited_ms }));
        };
        let permit = permit.map_err(|_| StoreError::internal("the pool is closed"))?;
        let found = self.idle_list().find(access, &self.options);
        let pooled = |pool: Arc<Self>, permit, connection: Connection| {
            connection.reset();
            PooledConnection::new(pool, permit, connection)
        };
        let (unproven, other) = match found {
            Candidate::Ready(connection) => return Ok(pooled(self.clone(), permit, connection)),
            Candidate::NeedsPing(connection) => (Some(connection), None),
            Candidate::OpenNew => (None, None),
            Candidate::Replace(other) => (None, Some(other)),
        };
        let (pool, slot) = (self.clone(), Opening(Some(self.clone())));
        // In a task of its own, so that a caller that stops waiting doesn't drop a half-opened
        // connection. Dropping the result returns the connection to the idle list.
        let opening = tokio::spawn(async move {
            if let Some(connection) = unproven {
                let answers = timeout(PING_TIMEOUT, connection.recover()).await;
                if answers.is_ok_and(|answer| answer.is_ok()) {
                    slot.done();
                    return Ok(pooled(pool, permit, connection));
                }
                pool.drop_connection(connection);
            }
            if let Some(other) = other {
                // Closed before the new one is opened, so that the database doesn't see more
                // sessions than the pool may have.
                other.close().await;
            }
            let current = pool.generation.subscribe();
            let generation = *current.borrow();
            let mut evicted = current.clone();
            let opened = async {
                tokio::select! {
                    opened = pool.connector.open(access) => opened,
                    // The pool has evicted this generation.
                    _ = evicted.wait_for(|current| *current != generation) => {
                        Err(StoreError::Unavailable(DbErr::Custom("the node is gone".into())))
                    }
                }
            };
            let opened = timeout(pool.options.timeout, opened).await;
            let late = || DbErr::Custom("opening a connection took too long".into());
            let opened = opened.unwrap_or_else(|_| Err(StoreError::Unavailable(late())));
            let connection = opened.inspect_err(|_| pool.lost.notify_one())?;
            let connection = connection.with_membership(PoolMembership::new(
                generation,
                current,
                pool.lifetime(),
            ));
            slot.done();
            Ok(pooled(pool, permit, connection))
        });
        match timeout(deadline.remaining(Duration::MAX), opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(failure)) => Err(StoreError::internal(format!("opening: {failure}"))),
            Err(_) => Err(StoreError::DeadlineExceeded),
        }
    }
}

/// A slot for a connection that is being opened. Dropping it frees the slot.
struct Opening(Option<Arc<Pool>>);

impl Opening {
    /// Keeps the slot: the connection is open.
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.idle_list().open -= 1;
        }
    }
}

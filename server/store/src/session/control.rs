//! The control connection of a node: it cancels abandoned statements and asks the node about itself.
//! It is not in a pool, so that a full pool doesn't block it. The probes of several nodes have a
//! connection of the same kind for themselves.

use std::{
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr, Statement, Value};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use crate::{
    deadline::Deadline,
    error::StoreError,
    session::{
        connect::Connector,
        connection::{Connection, driver::Access},
        limit::{OpeningLimit, is_of_limit, late_opening},
    },
};

/// How long sending a cancellation may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the answer to an abandoned query may take.
const RECOVERY: Duration = Duration::from_millis(250);

/// A node's control connection. The first query opens it.
pub(crate) struct ControlConnection {
    connector: Connector,
    connection: Arc<Mutex<Option<Connection>>>,
    openings: Arc<StdMutex<Openings>>,
}

/// What is known of the server's limit of connections.
#[derive(Default)]
struct Openings {
    limit: OpeningLimit,
    refusal: Option<Arc<sqlx::Error>>,
}

impl Openings {
    /// Begins an opening, unless the server has refused one just now.
    ///
    /// # Errors
    /// That refusal.
    fn begin(&mut self) -> Result<(), StoreError> {
        let may = self.limit.allows(Instant::now());
        match self.refusal.as_ref().filter(|_| !may) {
            None => Ok(()),
            Some(refusal) => {
                let refusal = RuntimeErr::SqlxError(refusal.clone());
                Err(StoreError::Unavailable(DbErr::Conn(refusal)))
            }
        }
    }

    fn end(&mut self, opened: &Result<Connection, StoreError>) {
        self.limit.ended();
        match opened {
            Ok(_) => self.limit.opened(),
            Err(error) if is_of_limit(error) => {
                self.limit.refused(Instant::now());
                if let StoreError::Unavailable(DbErr::Conn(RuntimeErr::SqlxError(refusal))) = error
                {
                    self.refusal = Some(refusal.clone());
                }
            }
            Err(_) => {}
        }
    }
}

impl ControlConnection {
    pub(crate) fn new(connector: Connector) -> Self {
        let (connection, openings) = (Arc::default(), Arc::default());
        Self { connector: connector.quiet(), connection, openings }
    }

    /// Runs a query on the connection, within `deadline`.
    ///
    /// # Errors
    /// Those of the query, [`StoreError::DeadlineExceeded`], [`StoreError::Unavailable`].
    pub(crate) async fn ask<T>(
        &self,
        deadline: Deadline,
        query: impl AsyncFnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.ask_within(Duration::MAX, deadline, query).await
    }

    /// The same where there is another connection to ask, if this one isn't free within `patience`:
    /// a pooler may let an opening wait.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn ask_within<T>(
        &self,
        patience: Duration,
        deadline: Deadline,
        query: impl AsyncFnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let asked = async {
            let slot = timeout(patience, self.connection.clone().lock_owned()).await;
            let mut slot = slot.map_err(|_| late_opening())?;
            let checked_out = match slot.take() {
                Some(connection) => ControlGuard { slot: Some(slot), connection: Some(connection) },
                None => self.opened(slot, patience, deadline).await?,
            };
            checked_out.connection().set_deadline(deadline);
            let answer = query(checked_out.connection()).await;
            if answer.is_err() {
                checked_out.discard();
            }
            answer
        };
        timeout(deadline.remaining(Duration::MAX), asked)
            .await
            .unwrap_or(Err(StoreError::DeadlineExceeded))
    }

    /// Opens the connection in a task of its own, so that a caller that stops waiting does not
    /// drop a half-opened connection.
    async fn opened(
        &self,
        slot: OwnedMutexGuard<Option<Connection>>,
        patience: Duration,
        deadline: Deadline,
    ) -> Result<ControlGuard, StoreError> {
        lock(&self.openings).begin()?;
        let (connector, openings) = (self.connector.clone(), self.openings.clone());
        let opening = tokio::spawn(async move {
            let opened = connector.open(Access::ReadOnly);
            let opened = timeout(deadline.remaining(Duration::MAX), opened).await;
            let opened = opened.unwrap_or(Err(StoreError::DeadlineExceeded));
            lock(&openings).end(&opened);
            let connection = opened?;
            Ok(ControlGuard { slot: Some(slot), connection: Some(connection) })
        });
        let opened = timeout(patience, opening).await.map_err(|_| late_opening())?;
        opened.unwrap_or_else(|failure| Err(StoreError::internal(failure.to_string())))
    }

    /// Cancels the statement that a session runs (PostgreSQL, 9.28.2. Server Signaling
    /// Functions). The session belongs to the same role, so no further privilege is needed.
    pub(crate) async fn cancel(&self, process: i32) {
        self.cancel_by("SELECT pg_cancel_backend($1)", process).await;
    }

    /// The same unless commits wait for synchronous replicas now: a cancellation would end that
    /// wait, and the commit would be acknowledged and seen without them.
    pub(crate) async fn cancel_unless_synchronous(&self, process: i32) {
        let sql = "SELECT pg_cancel_backend($1) \
                   WHERE current_setting('synchronous_standby_names') = ''";
        self.cancel_by(sql, process).await;
    }

    async fn cancel_by(&self, sql: &'static str, process: i32) {
        let deadline = Deadline::after(CANCEL_TIMEOUT);
        let cancelled = self.ask(deadline, async |connection| {
            let values = [Value::from(process)];
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
            connection.query_one_raw(statement).await?;
            Ok(())
        });
        if let Err(error) = cancelled.await {
            // The statement ends by its own timeout.
            tracing::warn!(error = error.report(), "cancelling a statement failed");
        }
    }

    /// Closes the connection, if it is open.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            connection.close().await;
        }
    }
}

fn lock(openings: &StdMutex<Openings>) -> MutexGuard<'_, Openings> {
    openings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The control connection while a query runs.
struct ControlGuard {
    slot: Option<OwnedMutexGuard<Option<Connection>>>,
    connection: Option<Connection>,
}

impl ControlGuard {
    #[expect(clippy::expect_used, reason = "only its end takes the connection")]
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a checked-out connection")
    }

    /// Drops the connection.
    fn discard(mut self) {
        self.connection = None;
    }
}

impl Drop for ControlGuard {
    fn drop(&mut self) {
        let (Some(mut slot), Some(connection)) = (self.slot.take(), self.connection.take()) else {
            return;
        };
        if !connection.is_in_flight() {
            *slot = Some(connection);
        } else if !connection.deadline().has_passed()
            && let Ok(runtime) = Handle::try_current()
        {
            // The caller stopped waiting. A connection that doesn't answer in time is dropped.
            runtime.spawn(async move {
                connection.set_deadline(Deadline::NONE);
                if let Ok(Ok(())) = timeout(RECOVERY, connection.recover()).await {
                    *slot = Some(connection);
                }
            });
        }
    }
}

//! The connection beside the pools: it reads the schema, and cancels statements that no caller
//! waits for any more. What keeps all others busy doesn't keep it.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
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
        connection::{Access, Connection},
    },
};

/// How long a cancellation may take to be sent.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the answer to a cancelled statement may take.
const RECOVERY: Duration = Duration::from_millis(250);

/// A node's control connection, opened when it is needed.
pub(crate) struct ControlConnection {
    connector: Connector,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl ControlConnection {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector: connector.quiet(), connection: Arc::default() }
    }

    /// Asks something, within `deadline`.
    ///
    /// # Errors
    /// What the question comes to, [`StoreError::DeadlineExceeded`], [`StoreError::Unavailable`].
    pub(crate) async fn ask<T>(
        &self,
        deadline: Deadline,
        question: impl AsyncFnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let asked = async {
            let mut slot = self.connection.clone().lock_owned().await;
            let checked_out = match slot.take() {
                Some(connection) => ControlGuard { slot: Some(slot), connection: Some(connection) },
                None => self.opened(slot, deadline).await?,
            };
            checked_out.connection().set_deadline(deadline);
            let answer = question(checked_out.connection()).await;
            if answer.is_err() {
                checked_out.discard();
            }
            answer
        };
        timeout(deadline.remaining(Duration::MAX), asked)
            .await
            .unwrap_or(Err(StoreError::DeadlineExceeded))
    }

    /// Opens the connection in a task of its own. A caller that leaves does not cancel the opening.
    async fn opened(
        &self,
        slot: OwnedMutexGuard<Option<Connection>>,
        deadline: Deadline,
    ) -> Result<ControlGuard, StoreError> {
        let connector = self.connector.clone();
        let opening = tokio::spawn(async move {
            let opened = connector.open(Access::ReadOnly);
            let opened = timeout(deadline.remaining(Duration::MAX), opened).await;
            let connection = opened.unwrap_or(Err(StoreError::DeadlineExceeded))?;
            Ok(ControlGuard { slot: Some(slot), connection: Some(connection) })
        });
        opening.await.unwrap_or_else(|failure| Err(StoreError::internal(failure.to_string())))
    }

    /// Ends the statement that a session runs, if it runs one (PostgreSQL, 9.28.2. Server
    /// Signaling Functions). One of ours, so that no right is needed.
    pub(crate) async fn cancel(&self, process: i32) {
        let deadline = Deadline::after(CANCEL_TIMEOUT);
        let cancelled = self.ask(deadline, async |connection| {
            let sql = "SELECT pg_cancel_backend($1)";
            let values = [Value::from(process)];
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
            connection.query_one_raw(statement).await?;
            Ok(())
        });
        if let Err(error) = cancelled.await {
            // It ends by its own timeout.
            tracing::warn!(error = error.report(), "a statement could not be cancelled");
        }
    }

    /// Closes the connection, if there is one.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            connection.close().await;
        }
    }
}

/// The connection while something is asked.
struct ControlGuard {
    slot: Option<OwnedMutexGuard<Option<Connection>>>,
    connection: Option<Connection>,
}

impl ControlGuard {
    #[expect(clippy::expect_used, reason = "only its end takes the connection")]
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a checked-out connection")
    }

    /// Gives the connection up.
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
            // The caller has left. A connection that does not answer in time is never used again.
            runtime.spawn(async move {
                connection.set_deadline(Deadline::NONE);
                if let Ok(Ok(())) = timeout(RECOVERY, connection.recover()).await {
                    *slot = Some(connection);
                }
            });
        }
    }
}

//! The connection beside the pools: it looks at the schema, and ends statements that nobody
//! waits for any more. What keeps all others busy doesn't keep it.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use tokio::{sync::Mutex, time::timeout};

use super::{
    connect::Connector,
    connection::{Access, Connection},
    deadline::Deadline,
    error::StoreError,
};

/// How long a cancellation may take to be sent.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// A node's control connection, opened when it is needed.
pub(super) struct Control {
    connector: Connector,
    connection: Mutex<Option<Connection>>,
}

impl Control {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector: connector.quiet(), connection: Mutex::default() }
    }

    /// Asks something, within `deadline`.
    ///
    /// # Errors
    /// What the question comes to, [`StoreError::DeadlineExceeded`], [`StoreError::Unavailable`].
    pub(super) async fn ask<T>(
        &self,
        deadline: Deadline,
        question: impl AsyncFnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let asked = async {
            let mut kept = self.connection.lock().await;
            // Taken out meanwhile: one that gave no answer in time is never used again.
            let connection = match kept.take() {
                Some(connection) => connection,
                None => self.connector.open(Access::ReadOnly).await?,
            };
            connection.set_deadline(deadline);
            let answer = question(&connection).await?;
            *kept = Some(connection);
            Ok(answer)
        };
        timeout(deadline.remaining(Duration::MAX), asked)
            .await
            .unwrap_or(Err(StoreError::DeadlineExceeded))
    }

    /// Ends the statement that a session runs, if it runs one (PostgreSQL, 9.28.2. Server
    /// Signaling Functions). One of ours, so that no right is needed.
    pub(super) async fn cancel(&self, process: i32) {
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
            tracing::warn!(error = error.told(), "a statement could not be cancelled");
        }
    }

    /// Closes the connection, if there is one.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            connection.close().await;
        }
    }
}

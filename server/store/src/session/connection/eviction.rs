//! The end of a connection that its pool evicts or replaces, or whose file is gone.

use std::{io, time::Duration};

use sea_orm::DbErr;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::sleep;

use crate::{
    error::StoreError,
    session::{
        connection::{
            Connection,
            driver::{Access, Driver},
            membership::PoolMembership,
        },
        settings,
        sqlite_file::SessionFile,
    },
};

impl Connection {
    /// The same connection as a member of a pool.
    pub(crate) fn with_membership(self, membership: PoolMembership) -> Self {
        Self { membership: Some(membership), ..self }
    }

    /// The same connection with the files that its session has open.
    pub(crate) fn with_file(self, file: Option<SessionFile>) -> Self {
        Self { file, ..self }
    }

    /// Checks that the session writes where others will read: SQLite's file may have been removed
    /// or replaced.
    ///
    /// # Errors
    /// [`StoreError::Unsuitable`]. The connection must not be used again.
    pub(crate) fn check_file(&self) -> Result<(), StoreError> {
        let Some(Err(reason)) = self.file.as_ref().map(SessionFile::check) else { return Ok(()) };
        self.broken.store(true, std::sync::atomic::Ordering::Release);
        Err(StoreError::Unsuitable(reason))
    }

    /// The same session with this access, once it has answered.
    ///
    /// # Errors
    /// The connection itself, if it doesn't.
    pub(crate) async fn with_access(self, access: Access) -> Result<Self, Self> {
        let answer = match access {
            same if same == self.access => self.recover().await,
            other => {
                let timeout = self.command_timeout.as_millis();
                self.control(&settings::access(other == Access::ReadOnly, timeout)).await
            }
        };
        match answer {
            Ok(()) => Ok(Self { access, ..self }),
            Err(_) => Err(self),
        }
    }

    /// Waits for the end of an abandoned statement and checks that the session answers.
    pub(crate) async fn recover(&self) -> Result<(), DbErr> {
        let mut exchange = self.exchange().await;
        let result = match &mut *exchange.driver {
            // The driver reads the rest of the last answer first.
            Driver::Postgres(postgres, _) => {
                sqlx::raw_sql("SELECT 1").execute(&mut **postgres).await.map(drop)
            }
            Driver::Sqlite(sqlite, interrupt) => {
                // No caller waits for the statement, so SQLite interrupts it at once.
                interrupt.arm(Duration::ZERO);
                sqlite.ping().await
            }
        };
        exchange.end(result)
    }

    /// Runs a command for the session itself, on PostgreSQL.
    async fn control(&self, sql: &str) -> Result<(), DbErr> {
        let mut exchange = self.exchange().await;
        let result = match &mut *exchange.driver {
            Driver::Postgres(postgres, _) => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **postgres).await
            }
            Driver::Sqlite(..) => Ok(Default::default()),
        };
        exchange.end(result.map(drop))
    }

    /// Closes the session, also after an error. The last session removes SQLite's log.
    pub(crate) async fn close(self) {
        drop(self.file);
        let _ = match self.driver.into_inner() {
            Driver::Postgres(postgres, _) => postgres.close().await,
            Driver::Sqlite(sqlite, _) => sqlite.close().await,
        };
    }

    /// Whether the connection has reached its lifetime.
    pub(crate) fn is_old(&self) -> bool {
        self.membership.as_ref().is_some_and(PoolMembership::is_old)
    }

    /// Whether the pool has evicted the connection.
    pub(crate) fn is_evicted(&self) -> bool {
        self.membership.as_ref().is_some_and(PoolMembership::is_evicted)
    }

    /// Waits until the pool evicts the connection; forever outside of a pool.
    pub(crate) async fn evicted(&self) {
        match &self.membership {
            Some(membership) => membership.evicted().await,
            None => std::future::pending().await,
        }
    }

    /// Runs an exchange with the database. If the pool evicts the connection and no answer comes
    /// within `grace` after that, the connection counts as lost: a server that hangs closes no
    /// socket.
    ///
    /// # Errors
    /// What the database answers, or `TimedOut`.
    pub(crate) async fn unless_evicted<T>(
        &self,
        grace: Duration,
        exchange: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let evicted = async {
            self.evicted().await;
            sleep(grace).await;
        };
        tokio::select! {
            biased;
            result = exchange => result,
            () = evicted => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }
}

//! Connections for migrations, outside the pool.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{DbBackend, DbErr};

use crate::{
    deadline::Deadline,
    error::StoreError,
    session::connect::{PlainConnection, open_in_memory},
    store::Store,
    topology::Node,
};

/// How long the probe for the primary may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

impl Store {
    /// Whether there is a database at all: a SQLite file may not have been made yet.
    pub fn exists(&self) -> bool {
        let nodes = &self.0.topology.nodes;
        nodes.iter().all(|node| node.connector.sqlite_file().is_none_or(std::path::Path::exists))
    }

    /// The engine of the database.
    pub fn backend(&self) -> DbBackend {
        let first = self.0.topology.nodes.first();
        first.map_or(DbBackend::Sqlite, |node| node.connector.backend())
    }

    /// The file of a SQLite database.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        self.0.topology.nodes.first()?.connector.sqlite_file().map(Into::into)
    }

    /// The node that takes writes at the moment, whether nodes are followed or not.
    async fn primary_now(&self) -> Result<Arc<Node>, StoreError> {
        let topology = &self.0.topology;
        if topology.is_single() {
            return Ok(topology.nodes[0].clone());
        }
        if !self.has_primary() {
            topology.probe_all(Deadline::after(PROBE_TIMEOUT)).await;
        }
        let none = || StoreError::Unavailable(DbErr::Custom("there is no primary".into()));
        let primary = topology.snapshot().primary.ok_or_else(none)?;
        Ok(topology.nodes[primary].clone())
    }

    /// Opens a connection for migrations, to the primary.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_for_migrations(&self) -> Result<PlainConnection, StoreError> {
        self.primary_now().await?.connector.open_plain().await
    }

    /// Opens a connection to try a schema on: on SQLite to a new database in memory, on
    /// PostgreSQL to the primary, where the caller works in a transaction that it rolls back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_scratch(&self) -> Result<PlainConnection, StoreError> {
        match self.backend() {
            DbBackend::Sqlite => open_in_memory().await,
            _ => self.open_for_migrations().await,
        }
    }

    /// Opens a connection that a schema is read on: to the primary, or to any node that answers
    /// where no primary is known.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_for_inspection(&self) -> Result<PlainConnection, StoreError> {
        let mut last = match self.open_for_migrations().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        for node in &self.0.topology.nodes {
            match node.connector.open_plain().await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

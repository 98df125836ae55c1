//! A session for migrations, and the lock that keeps others from migrating meanwhile.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{DatabaseConnection, DbErr};

use crate::{
    deadline::Deadline, error::StoreError, session::connect::open_in_memory,
    session::connection::Access, store::Store, topology::Node,
};

/// How long looking for the primary may take.
const LOOK: Duration = Duration::from_secs(5);

/// What the migration tool runs on.
pub struct MigrationSession {
    /// A single SeaORM connection: migrations run on nothing else.
    pub connection: DatabaseConnection,
    /// On SQLite, the file to lock meanwhile; PostgreSQL has advisory locks.
    pub lock_file: Option<PathBuf>,
}

impl Store {
    /// Whether there is a database at all: a SQLite file may not have been made yet.
    pub fn exists(&self) -> bool {
        let nodes = &self.0.topology.nodes;
        nodes.iter().all(|node| node.connector.sqlite_file().is_none_or(std::path::Path::exists))
    }

    /// The node that takes writes at the moment, whether nodes are followed or not.
    async fn primary_now(&self) -> Result<Arc<Node>, StoreError> {
        let topology = &self.0.topology;
        if topology.is_single() {
            // SeaORM's pool would hide for half a minute why it can't connect.
            let node = &topology.nodes[0];
            node.connector.open(Access::ReadWrite).await?.close().await;
            return Ok(node.clone());
        }
        if !self.has_primary() {
            topology.look_at_all(Deadline::after(LOOK)).await;
        }
        let none = || StoreError::Unavailable(DbErr::Custom("there is no primary".into()));
        let primary = topology.picture().primary.ok_or_else(none)?;
        Ok(topology.nodes[primary].clone())
    }

    /// Opens a session for migrations, outside the pool and without its statement timeout.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn migration_session(&self) -> Result<MigrationSession, StoreError> {
        let node = self.primary_now().await?;
        let connection = node.connector.open_for_migrations(&node.url).await?;
        Ok(MigrationSession { connection, lock_file: node.connector.migration_lock_file() })
    }

    /// Opens a session that the schema is read on: at the primary, or where none is known at
    /// any node that answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn inspection_session(&self) -> Result<DatabaseConnection, StoreError> {
        let mut last = match self.primary_now().await {
            Ok(node) => return node.connector.open_for_migrations(&node.url).await,
            Err(error) => error,
        };
        for node in self.0.topology.nodes.iter().filter(|_| !self.0.topology.is_single()) {
            match node.connector.open(Access::ReadOnly).await {
                Ok(connection) => {
                    connection.close().await;
                    return node.connector.open_for_migrations(&node.url).await;
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Opens an empty SQLite database in memory, which goes with the session.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn memory_session(&self) -> Result<DatabaseConnection, StoreError> {
        open_in_memory().await
    }
}

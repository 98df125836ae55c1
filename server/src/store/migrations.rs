//! A session for migrations, and the lock that keeps others from migrating meanwhile.

use std::path::PathBuf;

use sea_orm::DatabaseConnection;

use super::{Access, Store, StoreError};

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
        self.0.connector.sqlite_file().is_none_or(std::path::Path::exists)
    }

    /// Opens a session for migrations, outside the pool and without its statement timeout.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn migration_session(&self) -> Result<MigrationSession, StoreError> {
        // SeaORM's pool would hide for half a minute why it can't connect.
        self.0.connector.open(Access::ReadWrite).await?.close().await;
        let connection = self.0.connector.open_for_migrations(&self.0.url).await?;
        Ok(MigrationSession { connection, lock_file: self.0.connector.migration_lock_file() })
    }
}

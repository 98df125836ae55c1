//! Applies, reverts and lists migrations, one runner at a time.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sea_orm_migration::{
    MigrationStatus, MigratorTrait,
    sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement},
};
use thiserror::Error;

use crate::Migrator;

/// The advisory lock that runners on PostgreSQL hold: "bookstor" as a number.
const LOCK: i64 = 0x626f_6f6b_7374_6f72;

/// How long to wait for another runner to finish.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look whether it has.
const PERIOD: Duration = Duration::from_millis(100);

/// Why migrations could not be run.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// What the database answers. What the failed revision did was rolled back.
    #[error("{0}")]
    Database(#[from] DbErr),
    /// The file to lock can't be opened.
    #[error("{path}: {source}", path = .path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The file can't be locked.
    #[error("locking the database for the migration: {0}")]
    Lock(#[source] std::io::Error),
    /// Another runner didn't finish in time.
    #[error("another migration is running and didn't finish within 60 s")]
    Locked,
}

/// A revision and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its id: `m20261121_000001_create_sealing_keys`.
    pub id: String,
    /// Whether it is applied.
    pub applied: bool,
}

/// The revisions that this program knows, oldest first.
pub fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// Runs migrations on a single connection, alone.
pub struct Runner<'a> {
    connection: &'a DatabaseConnection,
    /// Holds the lock on SQLite as long as it is open.
    _lock: Option<File>,
}

impl<'a> Runner<'a> {
    /// Waits for other runners to finish, at most a minute, and keeps them out until it is
    /// dropped and the connection closed. SQLite needs a file to lock.
    ///
    /// # Errors
    /// [`MigrationError::Locked`], or what the database or the operating system answers.
    pub async fn start(
        connection: &'a DatabaseConnection,
        lock_file: Option<&Path>,
    ) -> Result<Self, MigrationError> {
        let lock = match lock_file {
            Some(path) => {
                let named = |source| MigrationError::LockFile { path: path.to_owned(), source };
                Some(File::options().create(true).append(true).open(path).map_err(named)?)
            }
            None => None,
        };
        let began = Instant::now();
        // Asked for again and again: a session that waits inside the database for an advisory
        // lock holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait in turn.
        while !try_lock(connection, lock.as_ref()).await? {
            if began.elapsed() > PATIENCE {
                return Err(MigrationError::Locked);
            }
            tokio::time::sleep(PERIOD).await;
        }
        Ok(Self { connection, _lock: lock })
    }

    /// Applies the pending revisions, at most `steps`, each in a transaction of its own;
    /// `report` hears of each that is done.
    ///
    /// # Errors
    /// What the database answers; revisions before the failed one stay applied.
    pub async fn up(
        &self,
        steps: Option<u32>,
        mut report: impl FnMut(&str),
    ) -> Result<u32, MigrationError> {
        let mut done = 0;
        while steps.is_none_or(|steps| done < steps) {
            // Without the rights to create a table there may still be nothing to do.
            let pending = Migrator::get_pending_migrations_read_only(self.connection).await?;
            let Some(next) = pending.first() else { break };
            Migrator::up(self.connection, Some(1)).await?;
            report(next.name());
            done += 1;
        }
        Ok(done)
    }

    /// Reverts the last applied revisions, at most `steps`.
    ///
    /// # Errors
    /// What the database answers; revisions before the failed one stay reverted.
    pub async fn down(
        &self,
        steps: u32,
        mut report: impl FnMut(&str),
    ) -> Result<u32, MigrationError> {
        let mut done = 0;
        while done < steps {
            let applied = Migrator::get_applied_migrations(self.connection).await?;
            let Some(last) = applied.last() else { break };
            Migrator::down(self.connection, Some(1)).await?;
            report(last.name());
            done += 1;
        }
        Ok(done)
    }
}

/// Every revision with its state, without changing anything: a database that was never
/// migrated has none applied.
///
/// # Errors
/// What the database answers.
pub async fn status(connection: &DatabaseConnection) -> Result<Vec<Revision>, MigrationError> {
    let revisions = Migrator::get_migration_with_status_read_only(connection).await?;
    let revision = |migration: sea_orm_migration::Migration| Revision {
        id: migration.name().to_owned(),
        applied: migration.status() == MigrationStatus::Applied,
    };
    Ok(revisions.into_iter().map(revision).collect())
}

async fn try_lock(
    connection: &DatabaseConnection,
    file: Option<&File>,
) -> Result<bool, MigrationError> {
    match file.map(File::try_lock) {
        Some(Ok(())) => return Ok(true),
        Some(Err(TryLockError::WouldBlock)) => return Ok(false),
        Some(Err(TryLockError::Error(source))) => return Err(MigrationError::Lock(source)),
        None => {}
    }
    let sql = "SELECT pg_try_advisory_lock($1)";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [LOCK.into()]);
    let row = connection.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the lock's answer".into()))?;
    Ok(row.try_get_by_index(0)?)
}

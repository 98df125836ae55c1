//! Migrations on the store's connections.

use std::path::PathBuf;

use bookstore_migration::{
    revision::Engine,
    runner::Event,
    session::{MigrationSession, Opener},
};
use bookstore_store::{PlainConnection, Store, StoreError, open_in_memory};
use sea_orm::DbErr;

/// Opens the sessions that migrations run on, at the store's primary.
pub struct StoreOpener(pub Store);

/// Opens databases of SQLite in memory, for scripts that need no other database.
pub struct InMemory;

fn session(opened: Result<PlainConnection, StoreError>) -> Result<MigrationSession, DbErr> {
    match opened {
        Ok(PlainConnection::Postgres(connection)) => Ok(MigrationSession::postgres(*connection)),
        Ok(PlainConnection::Sqlite(connection)) => Ok(MigrationSession::sqlite(*connection)),
        Err(StoreError::Unavailable(error)) => Err(error),
        Err(error) => Err(DbErr::Custom(error.report())),
    }
}

impl StoreOpener {
    /// Opens a session that a schema is read on, at a replica too.
    ///
    /// # Errors
    /// If no node can be reached.
    pub async fn open_for_inspection(&self) -> Result<MigrationSession, DbErr> {
        session(self.0.open_for_inspection().await)
    }

    /// Opens a database in memory beside a session of SQLite. PostgreSQL needs none: there
    /// migrations are replayed in a schema of their own.
    ///
    /// # Errors
    /// If it can't be opened.
    pub async fn open_scratch_for(
        &self,
        beside: &MigrationSession,
    ) -> Result<Option<MigrationSession>, DbErr> {
        match beside.engine() {
            Engine::Postgres => Ok(None),
            Engine::Sqlite => InMemory.open_scratch().await.map(Some),
        }
    }
}

#[async_trait::async_trait]
impl Opener for StoreOpener {
    fn engine(&self) -> Engine {
        self.0.backend().into()
    }

    fn file(&self) -> Option<PathBuf> {
        self.0.sqlite_file()
    }

    async fn open(&self) -> Result<MigrationSession, DbErr> {
        session(self.0.open_for_migrations().await)
    }

    async fn open_scratch(&self) -> Result<MigrationSession, DbErr> {
        session(self.0.open_scratch().await)
    }
}

#[async_trait::async_trait]
impl Opener for InMemory {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn file(&self) -> Option<PathBuf> {
        None
    }

    async fn open(&self) -> Result<MigrationSession, DbErr> {
        self.open_scratch().await
    }

    async fn open_scratch(&self) -> Result<MigrationSession, DbErr> {
        session(open_in_memory().await)
    }
}

/// An event as text for the log.
pub fn text(event: &Event) -> String {
    let joined = |blockers: &[String]| match blockers {
        [] => String::new(),
        blockers => format!("; waits for {}", blockers.join("; ")),
    };
    match event {
        Event::Waiting { holder } => format!("waiting for another migration: {holder}"),
        Event::Adopted { count } => format!("recorded the hashes of {count} revisions"),
        Event::Resumed { revision, step, steps } => {
            format!("{revision} goes on with step {step} of {steps}")
        }
        Event::Slow { revision, step, elapsed, blockers } => {
            format!("{revision}: {step}: {} s{}", elapsed.as_secs(), joined(blockers))
        }
        Event::Retry { revision, failed, tries, blockers } => {
            let waits = joined(blockers);
            format!("{revision}: a lock didn't come, try {failed} of {tries} rolled back{waits}")
        }
        Event::Filled { revision, rows, elapsed } => {
            format!("{revision}: {rows} rows filled in {:.1} s", elapsed.as_secs_f64())
        }
        Event::IndexDropped { index } => {
            format!("dropped the invalid index {index}, which a build left that was cut")
        }
        Event::Done { revision, elapsed, .. } => {
            format!("{revision} took {:.1} s", elapsed.as_secs_f64())
        }
    }
}

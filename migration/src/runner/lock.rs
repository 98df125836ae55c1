//! The lock of migrations: an advisory lock on PostgreSQL, a file beside SQLite's.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Event, EventReport};
use crate::{
    bookkeeping, clock, error::MigrationError, revision::Engine, session::MigrationSession,
};

/// The advisory lock: "bookstor" as a number. Programs before this runner take the same.
const KEY: i64 = 0x626f_6f6b_7374_6f72;

/// The period of attempts to take the lock. The runner doesn't wait for it inside the database: a
/// waiting session holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait.
const PERIOD: Duration = Duration::from_millis(100);

/// The lock, held by the session that changes the schema: it is released only when that session has
/// ended, also if the runner is killed.
#[derive(Debug)]
pub(super) struct Lock {
    process: u32,
    host: String,
    since: i64,
    /// The session's process in PostgreSQL.
    pub(super) backend: i32,
    file: Option<(File, PathBuf)>,
}

impl Lock {
    /// Waits for other migrators to finish.
    pub(super) async fn take(
        session: &MigrationSession,
        file: Option<&Path>,
        wait: Duration,
        report: EventReport<'_>,
    ) -> Result<Self, MigrationError> {
        let mut lock = Self {
            process: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            since: clock::now(),
            backend: 0,
            file: None,
        };
        if session.engine() == Engine::Postgres {
            lock.backend = number(session, "SELECT pg_backend_pid()::bigint").await?;
        }
        let began = Instant::now();
        let mut reported = None;
        while !lock.try_take(session, file).await? {
            let holder = holder(session, file).await;
            if began.elapsed() >= wait {
                let waited = wait.as_secs();
                return Err(MigrationError::Locked { waited, holder });
            }
            if reported.as_ref() != Some(&holder) {
                report(Event::Waiting { holder: holder.clone() });
                reported = Some(holder);
            }
            tokio::time::sleep(PERIOD).await;
        }
        lock.since = clock::now();
        Ok(lock)
    }

    async fn try_take(
        &mut self,
        session: &MigrationSession,
        file: Option<&Path>,
    ) -> Result<bool, MigrationError> {
        let Some(path) = file else {
            let sql = "SELECT pg_try_advisory_lock($1)";
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [KEY.into()]);
            let row = session.query_one_raw(statement).await?;
            return Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default());
        };
        let named = |source| MigrationError::LockFile { path: path.to_owned(), source };
        let options = File::options().create(true).read(true).append(true).open(path);
        let file = options.map_err(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(source)) => return Err(named(source)),
        }
        // The holder removes the file when it is done, so the opened file may be the removed one.
        let own = file.metadata().map_err(named)?;
        let is_there = std::fs::metadata(path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        if is_there {
            self.file = Some((file, path.to_owned()));
        }
        Ok(is_there)
    }

    /// Records for others what is being done.
    pub(super) async fn name(
        &mut self,
        session: &MigrationSession,
        revision: &str,
    ) -> Result<(), MigrationError> {
        let Self { process, host, since, backend, file } = self;
        match file {
            None => {
                let rows = bookkeeping::lock_holder(*backend, *process, host, *since, revision);
                for sql in rows {
                    session.execute_unprepared(&sql).await?;
                }
                Ok(())
            }
            Some((file, path)) => {
                let since = clock::text(*since);
                let text = format!("process {process} on {host} since {since}, at {revision}\n");
                let mut write = || {
                    file.set_len(0)?;
                    file.rewind()?;
                    file.write_all(text.as_bytes())
                };
                write().map_err(|source| MigrationError::LockFile { path: path.clone(), source })
            }
        }
    }

    /// Lets others in.
    pub(super) async fn release(self, session: &MigrationSession) {
        match self.file {
            // While it is still locked: a migration that has opened it already then finds that it
            // was removed.
            Some((file, path)) => {
                let _ = std::fs::remove_file(path);
                drop(file);
            }
            // The session ends next, and its lock with it.
            None => {
                let _ =
                    session.execute_unprepared(r#"DELETE FROM "bookstore_migration_lock""#).await;
            }
        }
    }
}

/// A number that the database answers.
pub(super) async fn number(session: &MigrationSession, sql: &str) -> Result<i32, MigrationError> {
    let statement = Statement::from_string(session.get_database_backend(), sql);
    let row = session.query_one_raw(statement).await?;
    let number: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(number.and_then(|number| i32::try_from(number).ok()).unwrap_or_default())
}

/// Names the migrator that holds the lock.
async fn holder(session: &MigrationSession, file: Option<&Path>) -> String {
    if let Some(path) = file {
        let mut text = String::new();
        let _ = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        let text = text.trim();
        let unknown = format!("a program that doesn't name itself in {}", path.display());
        return if text.is_empty() { unknown } else { text.to_owned() };
    }
    match postgres_holder(session).await {
        Ok(Some(holder)) => holder,
        // It has just released the lock, or may not be seen.
        _ => "a session that can't be seen".to_owned(),
    }
}

async fn postgres_holder(session: &MigrationSession) -> Result<Option<String>, sea_orm::DbErr> {
    let backend = DbBackend::Postgres;
    // A key of 64 bits stands in two halves (PostgreSQL, 54.12. pg_locks).
    let sql = "SELECT a.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''), \
               to_regclass('bookstore_migration_lock') IS NOT NULL \
               FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
               WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
               AND (l.classid::bigint << 32) | l.objid::bigint = $1";
    let statement = Statement::from_sql_and_values(backend, sql, [KEY.into()]);
    let Some(row) = session.query_one_raw(statement).await? else { return Ok(None) };
    let pid: i32 = row.try_get_by_index(0)?;
    let (program, address): (String, String) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    if row.try_get_by_index(3)? {
        let sql = r#"SELECT "process", "host", "since", "revision" FROM "bookstore_migration_lock" WHERE "backend" = $1"#;
        let statement = Statement::from_sql_and_values(backend, sql, [pid.into()]);
        if let Some(row) = session.query_one_raw(statement).await? {
            let (process, host): (i64, String) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let (since, at): (i64, String) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
            let since = clock::text(since);
            return Ok(Some(format!(
                "process {process} on {host} since {since}, at {at} (PostgreSQL's process {pid})"
            )));
        }
    }
    let from = if address.is_empty() { String::new() } else { format!(" from {address}") };
    Ok(Some(format!("{program}{from}, PostgreSQL's process {pid}")))
}

//! The settings of the migrating session, and the detection of poolers that would lose them.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::time::timeout;

use super::{Options, lock::number};
use crate::{
    error::{self, MigrationError},
    revision::Engine,
    session::{MigrationSession, Opener},
};

/// How long to wait for the other session: with a pool of one it would be for ever.
const SHARED: Duration = Duration::from_secs(2);

/// How long another session may take to open.
const OPENING: Duration = Duration::from_secs(10);

/// Sets what migrations need, whatever role, database and server have as defaults.
pub(super) async fn force(session: &MigrationSession, options: &Options) -> Result<(), DbErr> {
    if session.engine() == Engine::Sqlite {
        return Ok(());
    }
    let lock_timeout = options.lock_timeout.as_millis();
    // The search path that the URL or the database names is the service's too; a role's own isn't.
    let settings = format!(
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
         SET lock_timeout = {lock_timeout}; SET TIME ZONE 'UTC'; \
         SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; \
         SELECT set_config('search_path', CASE WHEN source IN ('client', 'database') \
             THEN setting ELSE 'public' END, false) \
         FROM pg_settings WHERE name = 'search_path'"
    );
    session.execute_unprepared(&settings).await?;
    // So that the server ends the statement of a killed migration, even while it waits for a lock.
    // Servers on some systems can't.
    let _ = session.execute_unprepared("SET client_connection_check_interval = '500ms'").await;
    Ok(())
}

/// How long a step may wait for locks; none is no limit.
pub(super) async fn set_lock_timeout(
    session: &MigrationSession,
    limit: Option<Duration>,
) -> Result<(), DbErr> {
    if session.engine() == Engine::Postgres {
        let limit = limit.map_or(0, |limit| limit.as_millis());
        session.execute_unprepared(&format!("SET lock_timeout = {limit}")).await?;
    }
    Ok(())
}

/// Refuses a pooler that gives the server's sessions to each transaction or statement that begins.
pub(super) async fn refuse_shared_sessions(
    opener: &dyn Opener,
    session: &MigrationSession,
) -> Result<(), MigrationError> {
    look_for_shared_sessions(opener, session).await.map_err(|error| match error {
        MigrationError::Database(source) if is_of_pooler(&source) => {
            MigrationError::Pooler(source.to_string())
        }
        error => error,
    })
}

/// Whether only a pooler answers so to statements as simple as the ones of this check: it has given
/// the next one to a session that doesn't know the statement (26000), or takes no transactions
/// (08P01, PgBouncer's mode `statement`).
fn is_of_pooler(error: &DbErr) -> bool {
    error::code(error).is_some_and(|code| ["26000", "08P01"].contains(&&*code))
}

/// A pooler is seen by a second session that gets the first one's, or takes it away.
async fn look_for_shared_sessions(
    opener: &dyn Opener,
    session: &MigrationSession,
) -> Result<(), MigrationError> {
    const OWN: &str = "SELECT pg_backend_pid()::bigint";
    if session.engine() == Engine::Sqlite {
        return Ok(());
    }
    let own = number(session, OWN).await?;
    let opened = async {
        let other = opener.open().await?;
        other.execute_unprepared("BEGIN").await?;
        Ok::<_, DbErr>(other)
    };
    let other = match timeout(OPENING, opened).await {
        Ok(Ok(other)) => other,
        // No connection is left for it, or a pooler in session mode has none: the check is skipped,
        // but not the migration.
        Ok(Err(error)) if error::code(&error).is_some_and(|code| code == "53300") => return Ok(()),
        Err(_) => return Ok(()),
        Ok(Err(error)) => return Err(error.into()),
    };
    let others = number(&other, OWN).await?;
    let again = match others == own {
        true => Some(own),
        false => timeout(SHARED, number(session, OWN)).await.ok().transpose()?,
    };
    other.execute_unprepared("ROLLBACK").await?;
    other.close().await;
    if others == own {
        let message = format!("two sessions share the server's process {own}");
        return Err(MigrationError::Pooler(message));
    }
    match again {
        Some(again) if again == own => Ok(()),
        Some(again) => {
            let message = format!("this session went from the server's process {own} to {again}");
            Err(MigrationError::Pooler(message))
        }
        None => Err(MigrationError::Pooler("one session waits for another's transaction".into())),
    }
}

/// Makes sure that the session is the one that took the lock.
pub(super) async fn check_session(
    session: &MigrationSession,
    backend: i32,
) -> Result<(), MigrationError> {
    if session.engine() == Engine::Sqlite {
        return Ok(());
    }
    let sql = "SELECT pg_backend_pid()";
    let row = session.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let now: Option<i32> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    match now {
        Some(now) if now == backend => Ok(()),
        now => {
            let now = now.unwrap_or_default();
            let message = format!("this session went from the server's process {backend} to {now}");
            Err(MigrationError::Pooler(message))
        }
    }
}

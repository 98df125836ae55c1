//! Indexes that are built CONCURRENTLY, and the invalid indexes of interrupted builds.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Event, EventReport};
use crate::{
    session::MigrationSession,
    sql::{facts::ConcurrentIndex, quoted},
};

/// How often a build by another session is checked for.
const PERIOD: Duration = Duration::from_millis(200);

/// The state of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IndexState {
    /// Nothing.
    Absent,
    /// All of it.
    Valid,
    /// What a build left that was cut, or that goes on.
    Invalid,
}

async fn any(session: &MigrationSession, sql: &str, name: &str) -> Result<Option<bool>, DbErr> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into()]);
    session.query_one_raw(statement).await?.map(|row| row.try_get_by_index(0)).transpose()
}

/// How an index stands.
pub(super) async fn state(session: &MigrationSession, name: &str) -> Result<IndexState, DbErr> {
    let sql = "SELECT indisvalid AND indisready FROM pg_index \
               WHERE indexrelid = to_regclass(quote_ident($1))";
    Ok(match any(session, sql, name).await? {
        None => IndexState::Absent,
        Some(true) => IndexState::Valid,
        Some(false) => IndexState::Invalid,
    })
}

/// Whether another session may be building it: a session that reports a build, or one that holds the
/// lock on the table that builds hold. What can't be seen counts as one.
async fn is_being_built(
    session: &MigrationSession,
    index: &ConcurrentIndex,
) -> Result<bool, DbErr> {
    let sql = "SELECT true FROM pg_stat_progress_create_index \
               WHERE datname = current_database() AND pid <> pg_backend_pid() \
               AND coalesce(index_relid, 0) IN (0, coalesce(to_regclass(quote_ident($1)), 0)::oid)";
    if any(session, sql, &index.name).await?.is_some() {
        return Ok(true);
    }
    let sql = "SELECT true FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) \
               WHERE l.relation = to_regclass(quote_ident($1)) AND l.pid <> pg_backend_pid() \
               AND l.mode = 'ShareUpdateExclusiveLock' \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
               AND coalesce(a.backend_type, '') <> 'autovacuum worker'";
    Ok(any(session, sql, &index.table).await?.is_some())
}

/// Drops the invalid index of an interrupted build, once it is certain that no session builds it.
///
/// # Errors
/// What the database answers, or that another session is building it for longer than `wait`.
pub(super) async fn clean_up(
    session: &MigrationSession,
    index: &ConcurrentIndex,
    wait: Duration,
    report: EventReport<'_>,
) -> Result<IndexState, DbErr> {
    let began = Instant::now();
    loop {
        let state = state(session, &index.name).await?;
        if state != IndexState::Invalid {
            return Ok(state);
        }
        if !is_being_built(session, index).await? {
            break;
        }
        if began.elapsed() >= wait {
            let message = format!(
                "another session is building index {} or holds {}",
                index.name, index.table
            );
            return Err(DbErr::Custom(message));
        }
        tokio::time::sleep(PERIOD).await;
    }
    let name = quoted(&index.name);
    session.execute_unprepared(&format!("DROP INDEX CONCURRENTLY {name}")).await?;
    report(Event::IndexDropped { index: index.name.clone() });
    Ok(IndexState::Absent)
}

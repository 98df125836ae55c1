//! How many sessions of the database run a statement, by the database's own count.

use bookstore_store::{Connection, Deadline, Freshness, Limit, Query, Store, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

/// The sessions of all programs on the database that run a statement, the count among them (PostgreSQL,
/// 27.2.3. pg_stat_activity). Sessions of other roles count if the service's role has `pg_monitor`.
/// SQLite counts no sessions: there these are the service's connections that are in use. `None` if the
/// database does not answer.
pub(super) async fn active(store: &Store, deadline: Deadline) -> Option<u64> {
    if store.backend() == DbBackend::Postgres {
        let read = store.read(Freshness::Eventual, deadline, Limit::Call, None, &CountActive).await;
        return read.result.ok();
    }
    Some(store.pools().iter().map(|pool| u64::from(pool.used)).sum())
}

struct CountActive;

impl Query for CountActive {
    const NAME: &'static str = "CountActive";
    type Output = u64;

    async fn fetch(&self, connection: &Connection) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND state = 'active'";
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await?;
        let count: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }
}

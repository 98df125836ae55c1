//! The position that a connection has seen: each query returns the one at which it was answered.

use std::sync::{MutexGuard, PoisonError};

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::{
    error::StoreError,
    position::{POSITION, Position},
    session::{
        connection::{Connection, driver::Access},
        rows::Rows,
    },
};

/// The column that holds the position.
const POSITION_COLUMN: &str = "bookstore_position";

/// The column that is true in rows of the query itself. Without any, the only row has NULL here.
const ROW_COLUMN: &str = "bookstore_row";

impl Connection {
    /// A position that covers all reads since the checkout. `timeline` is used if the node
    /// reports none. `None` if the node doesn't answer.
    pub(crate) async fn position(&self, timeline: u32) -> Option<Position> {
        let Some(server) = self.server else { return Some(Position::of_sqlite(0)) };
        let seen = self.seen().take();
        let seen = match seen {
            Some(seen) => Some(seen),
            // The session can't answer.
            None if self.is_broken() || self.is_in_flight() => None,
            // No query has returned a position yet.
            None => {
                let statement = Statement::from_string(self.backend, POSITION);
                let row = self.query_one_raw(statement).await.ok()??;
                let text: Option<String> = row.try_get_by_index(0).ok()?;
                Position::parse(server.system, 0, &text?)
            }
        };
        seen.map(|seen| seen.on(timeline))
    }

    /// Whether the transaction of another session will end by itself or by this call. One that
    /// waits for synchronous replicas may last.
    pub(crate) async fn is_ending(&self, process: i32) -> Result<bool, StoreError> {
        let sql = "SELECT CASE WHEN state LIKE 'idle in transaction%' \
                   THEN pg_terminate_backend(pid) ELSE wait_event IS DISTINCT FROM 'SyncRep' END \
                   FROM pg_stat_activity WHERE pid = $1 AND xact_start IS NOT NULL";
        let values = [Value::from(process)];
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let row = self.query_one_raw(statement).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Option<Position>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the position in the first row. Removes that row if the query itself has none.
    pub(crate) fn note_position(&self, read: &mut Result<Rows, sqlx::Error>) {
        let (Some(server), Ok(read)) = (self.server, read) else { return };
        let Some((row, _)) = read.rows.first() else { return };
        let Ok(text) = row.try_get::<String>("", POSITION_COLUMN) else { return };
        *self.seen() = Position::parse(server.system, 0, &text);
        if !row.try_get("", ROW_COLUMN).unwrap_or(false) {
            read.rows.clear();
        }
    }

    /// Adds the position to a query as one more column, in the same round trip, if the session is
    /// a reader's of PostgreSQL. Returns the text to log too, which is the query's own.
    pub(crate) fn with_position(&self, statement: Statement) -> (String, Statement) {
        let reads = self.membership.is_some() && self.access == Access::ReadOnly;
        let sql = &statement.sql;
        let selects = sql.starts_with("SELECT ") || sql.starts_with("WITH ");
        if !reads || !selects || self.backend != DbBackend::Postgres || sql == POSITION {
            return (statement.sql.clone(), statement);
        }
        let logged = statement.sql.clone();
        // The position is evaluated once, after the snapshot was taken, and returned without
        // rows too.
        let sql = format!(
            "SELECT q.*, p.{POSITION_COLUMN} FROM ({POSITION}) AS p ({POSITION_COLUMN}) \
             LEFT JOIN (SELECT t.*, true AS {ROW_COLUMN} FROM ({sql}) AS t) AS q ON true"
        );
        (logged, Statement { sql, ..statement })
    }
}

//! What a connection has seen: each question brings the position along at which it was answered.

use std::sync::{MutexGuard, PoisonError};

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::{
    position::{POSITION, Position},
    session::{
        connection::{Access, Connection},
        rows::Rows,
    },
};

/// The column that brings a position along.
const POSITION_COLUMN: &str = "bookstore_position";

/// The column that says of the only row that it is one.
const ROW_COLUMN: &str = "bookstore_row";

impl Connection {
    /// A position that covers all that was read since the connection was checked out. `timeline` is
    /// the
    /// node's, where it doesn't tell its own. None if it can't be told.
    pub(crate) async fn position(&self, timeline: u32) -> Option<Position> {
        let Some(server) = self.server else { return Some(Position::of_sqlite(0)) };
        let seen = self.seen().take();
        let seen = match seen {
            Some(seen) => Some(seen),
            // The session has ended.
            None if self.is_broken() || self.is_in_flight() => None,
            // Nothing was read that could bring it along.
            None => {
                let statement = Statement::from_string(self.backend, POSITION);
                let row = self.query_one_raw(statement).await.ok()??;
                let text: Option<String> = row.try_get_by_index(0).ok()?;
                Position::parse(server.system, 0, &text?)
            }
        };
        seen.map(|seen| seen.on(timeline))
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Option<Position>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the position that the first row brought along, which is no row if it brought nothing
    /// else.
    pub(crate) fn note_position(&self, read: &mut Result<Rows, sqlx::Error>) {
        let (Some(server), Ok(read)) = (self.server, read) else { return };
        let Some((row, _)) = read.rows.first() else { return };
        let Ok(text) = row.try_get::<String>("", POSITION_COLUMN) else { return };
        *self.seen() = Position::parse(server.system, 0, &text);
        if !row.try_get("", ROW_COLUMN).unwrap_or(false) {
            read.rows.clear();
        }
    }

    /// A question with the position that it has seen as one more column, in the same round trip;
    /// only where reads are what the session is for.
    pub(crate) fn with_position(&self, statement: Statement) -> (String, Statement) {
        let reads = self.membership.is_some() && self.access == Access::ReadOnly;
        let sql = &statement.sql;
        let selects = sql.starts_with("SELECT ") || sql.starts_with("WITH ");
        if !reads || !selects || self.backend != DbBackend::Postgres || sql == POSITION {
            return (statement.sql.clone(), statement);
        }
        let description = statement.sql.clone();
        // Once for all rows, after the snapshot was taken, and also where there is no row.
        let sql = format!(
            "SELECT q.*, p.{POSITION_COLUMN} FROM ({POSITION}) AS p ({POSITION_COLUMN}) \
             LEFT JOIN (SELECT t.*, true AS {ROW_COLUMN} FROM ({sql}) AS t) AS q ON true"
        );
        (description, Statement { sql, ..statement })
    }
}

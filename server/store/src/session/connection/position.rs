//! The position that a connection has seen: each query returns the one at which it was answered.
//!
//! A primary becomes a replica only by a restart, which ends its sessions. So a session that was
//! once answered by a primary asks for the log sequence number alone, and keeps the timeline. A
//! session of a replica asks for its role each time: the replica may be promoted meanwhile.

use std::sync::LazyLock;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value, Values};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr, SqlStr};

use crate::{
    error::StoreError,
    position::{IS_ASYNCHRONOUS, POSITION, PRIMARY_LSN_TEXT, Position, parse_lsn},
    session::{
        connection::{
            Connection,
            driver::{Access, ServerIdentity},
            position_column::{POSITION_COLUMN, PositionColumn, ROW_COLUMN, with_position},
            query::SqlQuery,
        },
        rows::{Rows, Take},
        statement_text::CachedStatement,
    },
};

/// [`Connection::position_of_commits`] of a primary that is known to be one.
static OF_PRIMARY: LazyLock<String> =
    LazyLock::new(|| format!("{PRIMARY_LSN_TEXT}, {IS_ASYNCHRONOUS}"));

/// The same of a node whose role is to be learned.
static OF_ROLE: LazyLock<String> = LazyLock::new(|| format!("{POSITION}, {IS_ASYNCHRONOUS}"));

impl Connection {
    /// A position that covers all reads since the checkout. `timeline` is used if the node
    /// reports none. `None` if the node doesn't answer.
    pub(crate) async fn position(&self, timeline: u32) -> Option<Position> {
        let Some(server) = self.server else { return Some(Position::of_sqlite(0)) };
        let seen = self.position.seen().take();
        let seen = match seen {
            Some(seen) => Some(seen),
            // The session can't answer.
            None if self.is_broken() || self.is_in_flight() => None,
            // No query has returned a position, or the last one had no row. A later position covers
            // it too.
            None => {
                let statement = Statement::from_string(self.backend, POSITION);
                let row = self.query_one_raw(statement).await.ok()??;
                let text: Option<String> = row.try_get_by_index(0).ok()?;
                self.position.learn(server, &text?)
            }
        };
        seen.map(|seen| seen.on(timeline))
    }

    /// Reads the position after a commit of any session that was answered before, and whether
    /// commits wait for replicas. `None` if the node doesn't answer.
    pub(crate) async fn position_of_commits(&self) -> Option<Position> {
        let server = self.server?;
        let timeline = self.primary_timeline();
        let sql = if timeline.is_some() { &*OF_PRIMARY } else { &*OF_ROLE };
        let statement = Statement::from_string(self.backend, sql);
        let row = self.query_one_raw(statement).await.ok()??;
        self.learn(server, timeline, &row)
    }

    /// The timeline of the primary that runs the session, if it is known to be one.
    pub(crate) fn primary_timeline(&self) -> Option<u32> {
        self.position.primary_timeline()
    }

    /// Reads a row of a position and [`IS_ASYNCHRONOUS`]. `timeline` is that of a primary which was
    /// asked for its log sequence number alone.
    pub(crate) fn learn(
        &self,
        server: ServerIdentity,
        timeline: Option<u32>,
        row: &QueryResult,
    ) -> Option<Position> {
        let text: Option<String> = row.try_get_by_index(0).ok()?;
        let is_asynchronous: Option<String> = row.try_get_by_index(1).ok()?;
        self.condition.set_asynchronous(is_asynchronous.as_deref() == Some("true"));
        match timeline {
            Some(timeline) => {
                let number = parse_lsn(&text?)?;
                Some(Position { system: server.system, timeline, number })
            }
            None => self.position.learn(server, &text?),
        }
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

    /// Records the position of the first row. Removes that row if the query itself has none.
    pub(crate) fn note_position(
        &self,
        column: PositionColumn,
        read: &mut Result<Rows, sqlx::Error>,
    ) {
        let (Some(server), Ok(read)) = (self.server, read) else { return };
        let row = read.rows.first().map(|(row, _)| row);
        let number = |timeline| {
            let number = row.and_then(number)?;
            Some(Position { system: server.system, timeline, number })
        };
        let position = match column {
            PositionColumn::None => return,
            PositionColumn::Role => {
                let text = row.and_then(|row| row.try_get::<String>("", POSITION_COLUMN).ok());
                text.and_then(|text| self.position.learn(server, &text))
            }
            PositionColumn::Number(timeline) | PositionColumn::NumberOfRow(timeline) => {
                number(timeline)
            }
        };
        // The position of an earlier query doesn't cover this one.
        *self.position.seen() = position;
        let wrapped = matches!(column, PositionColumn::Role | PositionColumn::Number(_));
        if wrapped && !row.is_some_and(|row| row.try_get("", ROW_COLUMN).unwrap_or(false)) {
            read.rows.clear();
        }
    }

    /// Adds the position to a query as one more column, in the same round trip, if the session is
    /// a reader's of PostgreSQL. Returns the text to log too, which is the query's own.
    pub(crate) fn with_position(
        &self,
        query: SqlQuery,
        take: Take,
    ) -> (SqlStr, SqlStr, Values, PositionColumn) {
        let reads = self.membership.is_some() && self.access == Access::ReadOnly;
        let column = match (self.backend, reads) {
            (DbBackend::Postgres, true) => self.position_column(take),
            _ => PositionColumn::None,
        };
        match query {
            SqlQuery::Cached(CachedStatement { text, values }) => {
                let sql = |column| SqlStr::from_static(text.form(column));
                (sql(PositionColumn::None), sql(column), values, column)
            }
            SqlQuery::Built(sql, values) => {
                let own = sql.as_str();
                let selects = own.starts_with("SELECT ") || own.starts_with("WITH ");
                if column == PositionColumn::None || !selects || own == POSITION {
                    return (sql.clone(), sql, values, PositionColumn::None);
                }
                let extended = AssertSqlSafe(with_position(own, column)).into_sql_str();
                (sql, extended, values, column)
            }
        }
    }

    fn position_column(&self, take: Take) -> PositionColumn {
        match (self.position.primary_timeline(), take) {
            (None, _) => PositionColumn::Role,
            // The cheapest form. What is asked for by its id mostly exists.
            (Some(timeline), Take::One | Take::Some) => PositionColumn::NumberOfRow(timeline),
            // A page may be empty.
            (Some(timeline), Take::All | Take::Bytes(_)) => PositionColumn::Number(timeline),
        }
    }
}

/// The log sequence number in a row.
fn number(row: &QueryResult) -> Option<u64> {
    let row = row.try_as_pg_row()?;
    let bytes: &[u8] = row.try_get(POSITION_COLUMN).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

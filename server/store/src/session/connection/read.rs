//! How a connection runs a query: with the position as one more column, as a prepared statement.

use sea_orm::{DbErr, QueryResult, Statement, Values};
use sqlx::{Connection as _, SqlStr};

use crate::{
    cause::NO_ROOM,
    session::{
        connection::{
            Connection, Exchange,
            driver::Driver,
            purpose::{Purpose, ROWS},
            query::{SqlQuery, is_stale_plan},
            state::TransactionState,
        },
        rows::{Reading, Rows, Take},
        statement_text::CachedStatement,
    },
};

impl Connection {
    /// Reads rows until their values exceed `most` bytes together, so that the size of the rows
    /// can't exhaust the memory.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn query_up_to(&self, statement: Statement, most: usize) -> Result<Rows, DbErr> {
        self.up_to(SqlQuery::of(statement), most).await
    }

    /// The same by a text that was made once.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn cached_up_to(
        &self,
        statement: CachedStatement,
        most: usize,
    ) -> Result<Rows, DbErr> {
        self.up_to(SqlQuery::Cached(statement), most).await
    }

    /// Reads the rows of a query that mostly has some, by a text that was made once.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn cached(&self, statement: CachedStatement) -> Result<Vec<QueryResult>, DbErr> {
        let query = SqlQuery::Cached(statement);
        let rows = self.query(query, Take::Some).await?;
        Ok(rows.into_iter().map(|(row, _)| row).collect())
    }

    /// Reads the row of a query that returns one at most, by a text that was made once.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn cached_one(
        &self,
        statement: CachedStatement,
    ) -> Result<Option<QueryResult>, DbErr> {
        let query = SqlQuery::Cached(statement);
        Ok(self.query(query, Take::One).await?.pop().map(|(row, _)| row))
    }

    async fn up_to(&self, query: SqlQuery, most: usize) -> Result<Rows, DbErr> {
        let take = Take::Bytes(most);
        let (logged, sql, values, column) = self.with_position(query, take);
        let (exchange, mut read) = self.prepared(logged.as_str(), sql, &values, ROWS, take).await?;
        self.note_position(column, &mut read);
        let no_room = read.as_ref().is_ok_and(|read| read.no_room);
        if no_room || read.as_ref().is_ok_and(|read| read.cut) {
            // The rest of the answer is unread, so the connection stays in flight.
            drop(exchange);
            if no_room {
                return Err(DbErr::Custom(NO_ROOM.into()));
            }
            return read.map_err(|error| DbErr::Custom(error.to_string()));
        }
        exchange.end(read)
    }

    pub(crate) async fn query(
        &self,
        query: SqlQuery,
        take: Take,
    ) -> Result<Vec<(QueryResult, usize)>, DbErr> {
        let (logged, sql, values, column) = self.with_position(query, take);
        let (exchange, mut read) = self.prepared(logged.as_str(), sql, &values, ROWS, take).await?;
        self.note_position(column, &mut read);
        room(&read)?;
        Ok(exchange.end(read)?.rows)
    }

    /// Runs a prepared statement.
    pub(crate) async fn prepared<T>(
        &self,
        logged: &str,
        sql: SqlStr,
        values: &Values,
        purpose: Purpose<T>,
        take: Take,
    ) -> Result<(Exchange<'_>, Result<T, sqlx::Error>), DbErr> {
        self.check_deadline()?;
        let limit = self.statement_timeout();
        let mut exchange = self.exchange().await;
        let reading = Reading { take, meter: self.meter() };
        self.autocommit.sends(sql.as_str());
        let run = purpose.run(&mut exchange.driver, sql.clone(), values, reading.clone());
        let run = self.unless_evicted(self.autocommit.grace(), run);
        let mut result = self.log.around(logged, limit, self.read_end(), run).await;
        // SQLSTATE 0A000: the schema has changed since the statement was prepared. Outside a
        // transaction it is safe to prepare and run it once more.
        if self.state() == TransactionState::Idle && result.as_ref().is_err_and(is_stale_plan) {
            if let Driver::Postgres(postgres, _) = &mut *exchange.driver {
                let _ = postgres.clear_cached_statements().await;
            }
            let run = purpose.run(&mut exchange.driver, sql, values, reading);
            let run = self.unless_evicted(self.autocommit.grace(), run);
            result = self.log.around(logged, limit, self.read_end(), run).await;
        }
        Ok((exchange, result))
    }
}

/// Where there was no room for all rows, the rest of the answer is still to come: the exchange is
/// left open, and the connection is in use until it has been read.
fn room(read: &Result<Rows, sqlx::Error>) -> Result<(), DbErr> {
    match read.as_ref().is_ok_and(|read| read.no_room) {
        true => Err(DbErr::Custom(NO_ROOM.into())),
        false => Ok(()),
    }
}

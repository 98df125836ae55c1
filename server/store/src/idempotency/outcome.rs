//! The outcome of the write under a key.

use sea_orm::{
    ConnectionTrait,
    sea_query::{Alias, Query},
};
use uuid::Uuid;

use crate::{
    clock::now,
    error::StoreError,
    idempotency::{
        answer::{TABLE, charge, lock_number, row_of, try_lock},
        large,
    },
    session::connection::Connection,
    transaction::operation::Operation,
};

/// The outcome of the write under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write is committed.
    Committed {
        /// The full name of the method that was called.
        method: String,
        /// Its encoded response; if that was large, with nothing but ids in its resources.
        answer: Vec<u8>,
    },
    /// The write's transaction has not ended.
    InProgress,
    /// The write has not happened. It may still arrive.
    NotFound,
    /// The write has not happened and never will.
    Fenced,
}

/// Looks a key up. With `fence` it also makes sure that a write that has not happened never
/// happens.
pub struct LookUpOutcome {
    /// The caller that the key belongs to; empty without credentials.
    pub principal: String,
    /// The key.
    pub key: Uuid,
    /// Whether to refuse a write under this key from now on.
    pub fence: bool,
}

impl Operation for LookUpOutcome {
    const NAME: &'static str = "LookUpOutcome";
    type Output = Outcome;

    async fn apply(&self, connection: &Connection) -> Result<Outcome, StoreError> {
        let Self { principal, key, fence } = self;
        // A transaction that holds the lock may have written the row without having committed
        // it. On SQLite there is no other transaction.
        if !try_lock(connection, lock_number(principal, *key)).await? {
            return Ok(Outcome::InProgress);
        }
        let mut select = row_of(principal, *key);
        select.columns(["method", "answer"].map(Alias::new));
        if let Some(row) = connection.query_one(&select).await? {
            let answer: Option<Vec<u8>> = row.try_get_by_index(1)?;
            return Ok(match answer {
                Some(answer) => {
                    let answer = large::abridged(answer).unwrap_or_else(|whole| whole);
                    Outcome::Committed { method: row.try_get_by_index(0)?, answer }
                }
                None => Outcome::Fenced,
            });
        }
        if !fence {
            return Ok(Outcome::NotFound);
        }
        charge(connection, 0)?;
        let mut insert = Query::insert();
        insert
            .into_table(Alias::new(TABLE))
            .columns(["principal", "key", "method", "created_at"].map(Alias::new))
            .values_panic([principal.as_str().into(), (*key).into(), "".into(), now().into()]);
        connection.execute(&insert).await?;
        Ok(Outcome::Fenced)
    }
}

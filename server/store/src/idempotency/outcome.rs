//! What became of the write under an idempotency key, and the end of keys that no caller asks
//! for any more.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DbBackend, IsolationLevel, Statement, Value,
    sea_query::{Alias, Expr, ExprTrait, Order, Query},
};
use uuid::Uuid;

use crate::{
    clock::now,
    constraint::ConstraintCheck,
    deadline::Deadline,
    error::StoreError,
    idempotency::{TABLE, lock_number, row_of},
    session::connection::Connection,
    store::Store,
    transaction::{Attempts, Call, Operation, Write},
};

/// What became of the write under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Committed {
        /// The method that it was a call of.
        method: String,
        /// Its encoded response.
        answer: Vec<u8>,
    },
    /// Its transaction has not ended.
    InProgress,
    /// It has not happened, and may yet: it may be on its way.
    NotFound,
    /// It has not happened and never will.
    Fenced,
}

/// Looks a key up, and fences it off if that is wanted and its write has not happened.
pub struct LookUpOutcome {
    /// Whose key it is; empty for callers that are not authenticated.
    pub principal: String,
    /// The key.
    pub key: Uuid,
    /// Whether a write that comes later must not happen any more.
    pub fence: bool,
}

impl Operation for LookUpOutcome {
    const NAME: &'static str = "LookUpOutcome";
    type Output = Outcome;

    async fn apply(&self, connection: &Connection) -> Result<Outcome, StoreError> {
        let Self { principal, key, fence } = self;
        // The holder of the lock may have written the row, which no one else sees yet. On
        // SQLite this transaction is the only one.
        if !try_lock(connection, lock_number(principal, *key)).await? {
            return Ok(Outcome::InProgress);
        }
        let mut select = row_of(principal, *key);
        select.columns(["method", "answer"].map(Alias::new));
        if let Some(row) = connection.query_one(&select).await? {
            let answer: Option<Vec<u8>> = row.try_get_by_index(1)?;
            return Ok(match answer {
                Some(answer) => Outcome::Committed { method: row.try_get_by_index(0)?, answer },
                None => Outcome::Fenced,
            });
        }
        if !fence {
            return Ok(Outcome::NotFound);
        }
        let mut insert = Query::insert();
        insert
            .into_table(Alias::new(TABLE))
            .columns(["principal", "key", "method", "created_at"].map(Alias::new))
            .values_panic([principal.as_str().into(), (*key).into(), "".into(), now().into()]);
        connection.execute(&insert).await?;
        Ok(Outcome::Fenced)
    }
}

/// The lock of whichever instance sweeps. Not in the range of any key's but by a chance of
/// one in 2^64.
const SWEEP_LOCK: i64 = 0x626f_6f6b_5357_4550;

/// How many keys one transaction deletes.
const SWEPT: u64 = 1_000;

impl Store {
    /// Deletes the keys that are older than `retention`, unless another instance does so
    /// at the moment, and says how many.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn sweep_keys(&self, retention: Duration) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let call = Call {
                method: "sweep",
                principal: None,
                deadline: Deadline::NONE,
                isolation: IsolationLevel::ReadCommitted,
                idempotency: None,
                validate_only: false,
                attempts: Attempts::default(),
                meter: None,
            };
            let done = self.run(call, Box::new(Sweep { retention })).await?;
            let deleted = done.answer.try_into().map(u64::from_be_bytes).unwrap_or_default();
            all += deleted;
            if deleted < SWEPT {
                return Ok(all);
            }
        }
    }
}

/// Deletes some old keys.
struct Sweep {
    retention: Duration,
}

impl Write for Sweep {
    fn name(&self) -> &'static str {
        "SweepKeys"
    }

    fn prepare(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async {
            if !try_lock(connection, SWEEP_LOCK).await? {
                return Ok(0_u64.to_be_bytes().into());
            }
            let mut old = Query::select();
            old.columns(["principal", "key"].map(Alias::new))
                .from(Alias::new(TABLE))
                .and_where(Expr::col(Alias::new("created_at")).lt(now() - self.retention))
                .order_by(Alias::new("created_at"), Order::Asc)
                .limit(SWEPT);
            let name = Expr::tuple(["principal", "key"].map(|name| Expr::col(Alias::new(name))));
            let mut delete = Query::delete();
            delete.from_table(Alias::new(TABLE)).and_where(name.in_subquery(old));
            let deleted = connection.execute(&delete).await?.rows_affected();
            Ok(deleted.to_be_bytes().into())
        })
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        Vec::new()
    }
}

/// Takes an advisory lock until the transaction's end, if it is free.
async fn try_lock(connection: &Connection, lock: i64) -> Result<bool, StoreError> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(true);
    }
    let sql = "SELECT pg_try_advisory_xact_lock($1)";
    let statement = Statement::from_sql_and_values(backend, sql, [Value::from(lock)]);
    let row = connection.query_one_raw(statement).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
}

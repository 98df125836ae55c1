//! The deletion of old keys, and the count of those that are there.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, Statement,
    sea_query::{Alias, Expr, ExprTrait, Order, Query},
};

use crate::{
    clock::now,
    error::StoreError,
    idempotency::answer::{TABLE, try_lock},
    session::connection::Connection,
    transaction::{self, operation::Write},
};

/// The advisory lock of the instance that deletes. A key's lock has the same number with a
/// probability of one in 2^64.
const SWEEP_LOCK: i64 = 0x626f_6f6b_5357_4550;

/// How many keys one transaction deletes at most.
pub(crate) const BATCH: u64 = 1_000;

/// Deletes the oldest keys, at most [`BATCH`].
pub(crate) struct SweepKeys {
    /// The age from which on a key is deleted.
    pub retention: Duration,
}

impl Write for SweepKeys {
    fn name(&self) -> &'static str {
        "SweepKeys"
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
                .limit(BATCH);
            let name = Expr::tuple(["principal", "key"].map(|name| Expr::col(Alias::new(name))));
            let mut delete = Query::delete();
            delete.from_table(Alias::new(TABLE)).and_where(name.in_subquery(old));
            let deleted = connection.execute(&delete).await?.rows_affected();
            Ok(deleted.to_be_bytes().into())
        })
    }
}

/// Counts the keys and the bytes of the answers that are stored under them.
pub struct CountKeys;

impl transaction::operation::Query for CountKeys {
    const NAME: &'static str = "CountKeys";
    const SCANS: bool = true;
    type Output = (u64, u64);

    async fn fetch(&self, connection: &Connection) -> Result<(u64, u64), StoreError> {
        let sql = format!("SELECT COUNT(*), COALESCE(SUM(LENGTH(answer)), 0) FROM {TABLE}");
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let Some(row) = connection.query_one_raw(statement).await? else { return Ok((0, 0)) };
        let count = |index| row.try_get_by_index::<i64>(index);
        Ok((count(0)?.unsigned_abs(), count(1)?.unsigned_abs()))
    }
}

//! The table of keys: the answers stored under them, and the advisory locks of writes.

use sea_orm::{
    ConnectionTrait, DbBackend, Statement, Value,
    sea_query::{Alias, Expr, ExprTrait, InsertStatement, Query, SelectStatement},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    call::Call,
    clock::now,
    error::StoreError,
    idempotency::{key::IdempotencyKey, large},
    session::connection::Connection,
};

/// The table of keys.
pub(crate) const TABLE: &str = "idempotency_keys";

/// The number of a key's advisory lock (PostgreSQL, 13.3.5. Advisory Locks).
pub(crate) fn lock(call: &Call, key: &IdempotencyKey) -> i64 {
    lock_number(principal(call), key.key)
}

/// The number of the advisory lock of a caller's key.
pub(crate) fn lock_number(principal: &str, key: Uuid) -> i64 {
    let hash = Sha256::new()
        .chain_update(b"idempotency key ")
        .chain_update(key.as_bytes())
        .chain_update(principal)
        .finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// The caller as the table stores it: empty without authentication.
fn principal(call: &Call) -> &str {
    call.principal.as_deref().unwrap_or_default()
}

/// Finds the answer that is stored under a call's key; `None` if the write has not happened.
///
/// # Errors
/// [`StoreError::KeyReused`] if the answer is that of another request,
/// [`StoreError::KeyFenced`].
pub(crate) async fn find(
    connection: &Connection,
    call: &Call,
    key: &IdempotencyKey,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut select = row_of(principal(call), key.key);
    select.columns(["method", "request_mark", "answer"].map(Alias::new));
    let Some(row) = connection.query_one(&select).await? else { return Ok(None) };
    let method: String = row.try_get_by_index(0)?;
    let fingerprint: Option<Vec<u8>> = row.try_get_by_index(1)?;
    let answer: Option<Vec<u8>> = row.try_get_by_index(2)?;
    match (fingerprint, answer) {
        (Some(fingerprint), Some(answer))
            if method == call.method && fingerprint == key.fingerprint =>
        {
            let answer = match (large::abridged(answer), &call.large_answers) {
                (Err(whole), _) => whole,
                (Ok(abridged), None) => abridged,
                (Ok(abridged), Some(large_answers)) => {
                    large_answers.restore(call.method, abridged, connection).await?
                }
            };
            Ok(Some(answer))
        }
        (Some(_), Some(_)) => Err(StoreError::KeyReused),
        _ => Err(StoreError::KeyFenced),
    }
}

/// Selects from the row of a key.
pub(crate) fn row_of(principal: &str, key: Uuid) -> SelectStatement {
    let mut select = Query::select();
    select
        .from(Alias::new(TABLE))
        .and_where(Expr::col(Alias::new("principal")).eq(principal))
        .and_where(Expr::col(Alias::new("key")).eq(key));
    select
}

/// Stores the answer of a call under its key, abridged if it is large.
///
/// # Errors
/// [`StoreError::Overloaded`] where no more may be stored.
/// [`StoreError::Conflict`] if a duplicate request has stored its answer first. That happens
/// under SERIALIZABLE only: its snapshot is older than the wait for the lock, so [`find`] does
/// not see the row.
pub(crate) async fn keep(
    connection: &Connection,
    call: &Call,
    key: &IdempotencyKey,
    answer: &[u8],
) -> Result<(), StoreError> {
    let answer = large::stored(call.large_answers.as_deref(), call.method, answer);
    charge(connection, answer.len())?;
    let insert = insert_key(principal(call), key.key, call.method, &key.fingerprint, answer);
    match connection.execute(&insert).await.map_err(StoreError::from) {
        Ok(_) => Ok(()),
        Err(StoreError::Constraint { source, .. }) => Err(StoreError::Conflict(source)),
        Err(error) => Err(error),
    }
}

/// Inserts the row of a key, created now.
pub(crate) fn insert_key(
    principal: &str,
    key: Uuid,
    method: &str,
    fingerprint: &[u8],
    answer: Vec<u8>,
) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(Alias::new(TABLE))
        .columns(
            ["principal", "key", "method", "request_mark", "answer", "created_at"].map(Alias::new),
        )
        .values_panic([
            principal.into(),
            key.into(),
            method.into(),
            fingerprint.into(),
            answer.into(),
            now().into(),
        ]);
    insert
}

/// Counts an answer, or a fence of no bytes, before it is stored.
///
/// # Errors
/// [`StoreError::Overloaded`] where no more may be stored.
pub(crate) fn charge(connection: &Connection, bytes: usize) -> Result<(), StoreError> {
    match connection.meter().is_none_or(|meter| meter.store(bytes)) {
        true => Ok(()),
        false => Err(StoreError::Overloaded),
    }
}

/// Takes an advisory lock until the transaction's end and returns whether it was free. SQLite
/// needs none: it has one writer at a time.
pub(crate) async fn try_lock(connection: &Connection, lock: i64) -> Result<bool, StoreError> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(true);
    }
    let sql = "SELECT pg_try_advisory_xact_lock($1)";
    let statement = Statement::from_sql_and_values(backend, sql, [Value::from(lock)]);
    let row = connection.query_one_raw(statement).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
}

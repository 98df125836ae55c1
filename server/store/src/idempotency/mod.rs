//! Keys under which a write happens once: their locks, and the answers that are kept with them.
//!
//! Duplicate requests in one process wait for each other without a connection, those of several
//! processes on an advisory lock. The answer is stored in the write's own transaction.

pub(crate) mod outcome;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};
use sha2::{Digest, Sha256};
use tokio::{sync::OwnedMutexGuard, time::timeout};
use uuid::Uuid;

pub use self::outcome::{LookUpOutcome, Outcome};
use crate::{
    clock::now, deadline::Deadline, error::StoreError, session::connection::Connection,
    transaction::Call,
};

/// The table of keys.
pub(crate) const TABLE: &str = "idempotency_keys";

/// How long a call waits for a duplicate request in this process; as long as it would in the
/// database.
const KEY_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// A key under which a write happens once.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The caller's key.
    pub key: Uuid,
    /// What the request must equal to be the same one.
    pub fingerprint: [u8; 32],
}

impl IdempotencyKey {
    /// A key with the mark of its request: an HMAC-SHA256 (RFC 2104), so that what is kept
    /// tells a reader of the table nothing about the request. `request` must be the same
    /// bytes for the same request.
    pub fn new(sealing_key: &[u8; 32], key: Uuid, request: &[u8]) -> Self {
        // RFC 2104 fills a short key up with zeros; a whole block can't have a wrong length.
        let mut block = [0; 64];
        block[..sealing_key.len()].copy_from_slice(sealing_key);
        let mac = <Hmac<Sha256> as KeyInit>::new(&block.into()).chain_update(request);
        Self { key, fingerprint: mac.finalize().into_bytes().into() }
    }
}

/// The number of a key's advisory lock.
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

/// The caller as the table has it: empty for all that are not authenticated.
fn principal(call: &Call) -> &str {
    call.principal.as_deref().unwrap_or_default()
}

/// The answer that is kept under a call's key, if the write has happened.
///
/// # Errors
/// [`StoreError::KeyReused`] if it was another request's, [`StoreError::KeyFenced`].
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

/// Keeps the answer of a call under its key.
///
/// # Errors
/// [`StoreError::Conflict`] if a duplicate request has come first: only where this transaction
/// could not see
/// it yet (SERIALIZABLE sees the database as it was before the wait for the lock).
pub(crate) async fn keep(
    connection: &Connection,
    call: &Call,
    key: &IdempotencyKey,
    answer: &[u8],
) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert
        .into_table(Alias::new(TABLE))
        .columns(
            ["principal", "key", "method", "request_mark", "answer", "created_at"].map(Alias::new),
        )
        .values_panic([
            principal(call).into(),
            key.key.into(),
            call.method.into(),
            key.fingerprint.to_vec().into(),
            answer.to_vec().into(),
            now().into(),
        ]);
    match connection.execute(&insert).await.map_err(StoreError::from) {
        Ok(_) => Ok(()),
        Err(StoreError::Constraint { source, .. }) => Err(StoreError::Conflict(source)),
        Err(error) => Err(error),
    }
}

/// The keys whose calls this process carries out or lets wait: one at a time holds the key lock.
#[derive(Default)]
pub(crate) struct KeyLocks(Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>);

/// A caller's key.
type Name = (String, Uuid);

/// The lock of a call's key; the next call gets it when this is dropped.
pub(crate) struct KeyLock {
    key_locks: Arc<KeyLocks>,
    name: Name,
    guard: Option<OwnedMutexGuard<()>>,
}

impl KeyLocks {
    /// Waits until no other call of this process has the key.
    ///
    /// # Errors
    /// [`StoreError::KeyInUse`] if that takes too long, [`StoreError::DeadlineExceeded`].
    pub(crate) async fn take(
        self: &Arc<Self>,
        principal: Option<&str>,
        key: Uuid,
        deadline: Deadline,
    ) -> Result<KeyLock, StoreError> {
        let name = (principal.unwrap_or_default().to_owned(), key);
        let key_lock = self.all().entry(name.clone()).or_default().clone();
        // Made before the wait, so that a call that gives up tidies up behind itself.
        let mut taken = KeyLock { key_locks: self.clone(), name, guard: None };
        match timeout(deadline.remaining(KEY_LOCK_TIMEOUT), key_lock.lock_owned()).await {
            Ok(guard) => taken.guard = Some(guard),
            Err(_) if deadline.has_passed() => return Err(StoreError::DeadlineExceeded),
            Err(_) => {
                let description = "a duplicate request in this process holds the key";
                return Err(StoreError::KeyInUse(DbErr::Custom(description.into())));
            }
        }
        Ok(taken)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Name, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        let mut all = self.key_locks.all();
        self.guard = None;
        // A call that waits holds the entry too.
        if all.get(&self.name).is_some_and(|key_lock| Arc::strong_count(key_lock) == 1) {
            all.remove(&self.name);
        }
    }
}

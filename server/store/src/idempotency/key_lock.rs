//! Locks of keys inside this process. Duplicate requests wait here without a connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sea_orm::DbErr;
use tokio::{sync::OwnedMutexGuard, time::timeout};
use uuid::Uuid;

use crate::{call::Call, deadline::Deadline, error::StoreError};

/// How long a call waits for a duplicate in this process: as long as for one in the database.
const KEY_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The keys of the calls that this process runs or holds back. One call at a time has the lock
/// of a key.
#[derive(Default)]
pub(crate) struct KeyLocks(Mutex<HashMap<KeyOfCaller, Arc<tokio::sync::Mutex<()>>>>);

/// A caller and its key.
type KeyOfCaller = (String, Uuid);

/// The lock of a key. Dropping it releases the lock.
pub(crate) struct KeyLock {
    key_locks: Arc<KeyLocks>,
    name: KeyOfCaller,
    guard: Option<OwnedMutexGuard<()>>,
}

impl KeyLocks {
    /// Takes the lock of a call's key; `None` if the call has no key.
    ///
    /// # Errors
    /// [`StoreError::KeyInUse`] after 10 s, [`StoreError::DeadlineExceeded`].
    pub(crate) async fn take_for(
        self: &Arc<Self>,
        call: &Call,
    ) -> Result<Option<KeyLock>, StoreError> {
        match &call.idempotency {
            Some(key) => {
                self.take(call.principal.as_deref(), key.key, call.deadline).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn take(
        self: &Arc<Self>,
        principal: Option<&str>,
        key: Uuid,
        deadline: Deadline,
    ) -> Result<KeyLock, StoreError> {
        let name = (principal.unwrap_or_default().to_owned(), key);
        let mutex = self.all().entry(name.clone()).or_default().clone();
        // Made before the wait, so that dropping this future removes an unused entry.
        let mut key_lock = KeyLock { key_locks: self.clone(), name, guard: None };
        match timeout(deadline.remaining(KEY_LOCK_TIMEOUT), mutex.lock_owned()).await {
            Ok(guard) => key_lock.guard = Some(guard),
            Err(_) if deadline.has_passed() => return Err(StoreError::DeadlineExceeded),
            Err(_) => {
                let message = "a duplicate request in this process holds the key";
                return Err(StoreError::KeyInUse(DbErr::Custom(message.into())));
            }
        }
        Ok(key_lock)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<KeyOfCaller, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        let mut all = self.key_locks.all();
        self.guard = None;
        // Each waiting call holds a reference too.
        if all.get(&self.name).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            all.remove(&self.name);
        }
    }
}

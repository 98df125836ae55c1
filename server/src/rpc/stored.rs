//! Large answers under idempotency keys: stored as ids, read again when the call is repeated.

use std::{collections::HashMap, fmt, sync::Arc};

use bookstore_proto::abridged::{self, Resource};
use bookstore_store::{Connection, LargeAnswers, StoreError};
use futures_util::{FutureExt, future::BoxFuture};

use super::{
    calls::Calls,
    registry::{Prepared, Registry},
};

/// How many resources one statement reads: the limit of batch requests.
const BATCH: usize = 1_000;

/// Abridges answers and restores them, by the types of the registry's methods.
pub struct StoredAnswers {
    calls: Calls,
    registry: Arc<Registry>,
}

impl StoredAnswers {
    /// Makes the calls store large answers as ids from now on.
    pub fn install(calls: &Calls, registry: Arc<Registry>) {
        calls.set_large_answers(Arc::new(Self { calls: calls.clone(), registry }));
    }

    /// Reads resources of one type. Where a batch can't be answered because one was deleted or
    /// all are too large together, its halves are read.
    async fn read(
        &self,
        connection: &Connection,
        kind: &str,
        ids: &[String],
        found: &mut HashMap<Resource, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let mut batches: Vec<&[String]> = ids.chunks(BATCH).collect();
        while let Some(batch) = batches.pop() {
            let Some((name, request)) = abridged::batch_get(kind, batch) else { continue };
            let Some(registered) = self.registry.taking(name) else { continue };
            let Ok(Prepared::Read(read)) = registered.prepare(&self.calls, None, &request) else {
                continue;
            };
            match read.fetch(connection).await {
                Ok(response) => found.extend(abridged::batch_got(kind, &response)),
                Err(StoreError::NotFound { .. } | StoreError::AnswerTooLarge { .. }) => {
                    if batch.len() > 1 {
                        let (first, second) = batch.split_at(batch.len() / 2);
                        batches.extend([first, second]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl LargeAnswers for StoredAnswers {
    fn abridge(&self, method: &str, answer: &[u8]) -> Option<Vec<u8>> {
        Some(abridged::abridge(&self.registry.at(method)?.answer, answer))
    }

    fn restore<'a>(
        &'a self,
        method: &'a str,
        abridged: Vec<u8>,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        async move {
            let Some(method) = self.registry.at(method) else { return Ok(abridged) };
            let mut found = HashMap::new();
            for (kind, ids) in abridged::ids(&method.answer, &abridged) {
                self.read(connection, &kind, &ids, &mut found).await?;
            }
            let whole = abridged::restore(&method.answer, &abridged, &found);
            // They may have grown since.
            Ok(if whole.len() > self.calls.max_message_size() { abridged } else { whole })
        }
        .boxed()
    }
}

impl fmt::Debug for StoredAnswers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StoredAnswers").finish_non_exhaustive()
    }
}

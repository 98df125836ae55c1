//! The ids that the steps of a Transact stream have made or changed, for the line of the call in the
//! log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bookstore_proto::ids::MessageIds;

/// The ids of the steps that a commit makes permanent.
#[derive(Debug, Default)]
pub(super) struct TransactionIds(Mutex<TransactionIdsState>);

#[derive(Debug, Default)]
struct TransactionIdsState {
    ids: MessageIds,
    /// The ids at each savepoint, oldest first.
    savepoints: Vec<(String, MessageIds)>,
}

impl TransactionIds {
    /// Adds the ids of a write that was carried out: those of its response, or of its request if the
    /// response has none.
    pub fn add(&self, request: (&str, &[u8]), response: (&str, &[u8])) {
        let of = |(name, message): (&str, &[u8])| MessageIds::of_part(name, message);
        let answered = of(response);
        let ids = if answered.count == 0 { of(request) } else { answered };
        self.lock().ids.extend(&ids);
    }

    /// Remembers the ids at a savepoint.
    pub fn save(&self, name: &str) {
        let mut state = self.lock();
        let ids = state.ids.clone();
        state.savepoints.push((name.to_owned(), ids));
    }

    /// Forgets the ids since the newest savepoint of this name, which stays (PostgreSQL, ROLLBACK TO
    /// SAVEPOINT).
    pub fn roll_back_to(&self, name: &str) {
        let mut state = self.lock();
        let Some(at) = state.savepoints.iter().rposition(|(known, _)| known == name) else {
            return;
        };
        state.savepoints.truncate(at + 1);
        state.ids = state.savepoints[at].1.clone();
    }

    /// The ids as the log shows them.
    pub fn text(&self) -> Option<Arc<str>> {
        self.lock().ids.text().map(Arc::from)
    }

    fn lock(&self) -> MutexGuard<'_, TransactionIdsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

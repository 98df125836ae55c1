//! A call to the store: what a write brings along, how often it was attempted, and its result.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sea_orm::IsolationLevel;

use crate::{
    deadline::Deadline,
    error::StoreError,
    idempotency::{key::IdempotencyKey, large::LargeAnswers},
    position::Position,
    serving_node::ServingNode,
    session::rows::Meter,
};

/// What the store must know of the call that a write belongs to.
#[derive(Clone, Debug)]
pub struct Call {
    /// The full method name, such as `/bookstore.v1.BookService/CreateBook`.
    pub method: &'static str,
    /// The authenticated caller, whose own the idempotency keys are; `None` for calls without
    /// credentials.
    pub principal: Option<Arc<str>>,
    /// When the caller stops waiting.
    pub deadline: Deadline,
    /// The isolation level (PostgreSQL, 13.2. Transaction Isolation). SQLite is always
    /// serializable.
    pub isolation: IsolationLevel,
    /// The idempotency key, with the fingerprint of the request.
    pub idempotency: Option<IdempotencyKey>,
    /// Whether the store rolls the write back at its end. It ignores the key then.
    pub validate_only: bool,
    /// Counts the attempts. The caller can read it after a failure too.
    pub attempts: Attempts,
    /// Counts the memory of the rows that the call reads; `None` counts nothing.
    pub meter: Option<Arc<dyn Meter>>,
    /// Stores large answers abridged; `None` stores them whole.
    pub large_answers: Option<Arc<dyn LargeAnswers>>,
    /// Learns how the write ends; `None` if only the caller does.
    pub observer: Option<Arc<dyn WriteObserver>>,
}

/// Learns how a write ends, also if its caller has left before.
pub trait WriteObserver: Debug + Send + Sync {
    /// The write runs to its end from now on. The store calls it in the caller's task.
    fn begun(&self);

    /// The write has ended. If the write's task panics, the store drops the observer without this
    /// call.
    fn ended(&self, result: &Result<Committed, StoreError>);
}

impl Call {
    /// A write of the service itself, for no caller: without a deadline and without a key. `method`
    /// names it.
    #[must_use]
    pub fn internal(method: &'static str) -> Self {
        Self {
            method,
            principal: None,
            deadline: Deadline::NONE,
            isolation: IsolationLevel::ReadCommitted,
            idempotency: None,
            validate_only: false,
            attempts: Attempts::default(),
            meter: None,
            large_answers: None,
            observer: None,
        }
    }

    /// The key to look up and to store an answer under; `None` with `validate_only`.
    pub(crate) fn stored_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency.as_ref().filter(|_| !self.validate_only)
    }
}

/// The attempts at a write. Clones share one counter.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<Mutex<(u32, Option<ServingNode>)>>);

impl Attempts {
    /// The number of attempts; 0 if the write has not begun.
    pub fn count(&self) -> u32 {
        self.lock().0
    }

    /// The node of the last attempt.
    pub fn node(&self) -> Option<ServingNode> {
        self.lock().1.clone()
    }

    /// Counts one more attempt and returns its number, from 1.
    pub(crate) fn note(&self, node: ServingNode) -> u32 {
        let mut attempts = self.lock();
        *attempts = (attempts.0 + 1, Some(node));
        attempts.0
    }

    fn lock(&self) -> MutexGuard<'_, (u32, Option<ServingNode>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a committed write.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The encoded response.
    pub answer: Vec<u8>,
    /// The position from which on reads see the write; `None` if the connection broke after the
    /// commit.
    pub position: Option<Position>,
    /// The node that committed.
    pub node: ServingNode,
    /// The number of attempts.
    pub attempts: u32,
    /// Whether the answer is the stored one of an earlier call with the same key.
    pub replayed: bool,
}

//! Writes: what an operation is, what the store has to know of its call, and what it comes to.
//!
//! [`runner`] carries them out, [`session`] lets callers lead them step by step; [`commands`] is
//! the one place that begins and commits.

mod commands;
mod runner;
mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use sea_orm::IsolationLevel;

pub use self::session::{Begun, StepError, Transaction};
pub(crate) use self::{commands::COMMANDS, runner::carry_out, session::slots};
use crate::{
    constraint::ConstraintCheck,
    deadline::Deadline,
    error::StoreError,
    idempotency::IdempotencyKey,
    position::Position,
    session::{connection::Connection, rows::Meter},
};

/// A change of the database: a struct that holds checked values and knows how to apply them.
pub trait Operation: Send + Sync {
    /// The operation's name in spans, logs and metrics: `CreateBooks`.
    const NAME: &'static str;
    /// What is left to tell of it.
    type Output: Send;

    /// What takes long and needs no database, such as hashing a password: it runs before a
    /// connection is taken.
    fn prepare(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }

    /// Applies the change. It runs inside a transaction, and again from the start if that
    /// has to be repeated.
    fn apply(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;

    /// The values that must be free or must exist, so that a broken constraint can be told
    /// by the request's fields.
    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        Vec::new()
    }
}

/// A question to the database: a struct that holds checked values and knows how to read.
pub trait Query: Send + Sync {
    /// The query's name in spans, logs and metrics: `ListBooks`.
    const NAME: &'static str;
    /// Whether it may look at any number of rows, as lists and searches do. Such queries have
    /// half of a node's connections, so that they hold up no other.
    const SCANS: bool = false;
    /// What it reads.
    type Output: Send;

    /// Reads, on a session that can't write.
    fn fetch(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send;

    /// What takes long and needs no database any more, such as comparing a password: it runs
    /// after the connection was given back.
    fn conclude(
        &self,
        read: Self::Output,
    ) -> impl Future<Output = Result<Self::Output, StoreError>> + Send {
        async { Ok(read) }
    }
}

/// An [`Operation`] with its encoder, without its types. The answer is encoded inside the
/// transaction: what can't be answered is not committed.
pub trait Write: Send + Sync {
    /// [`Operation::NAME`].
    fn name(&self) -> &'static str;

    /// [`Operation::prepare`].
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Applies the change and gives the encoded response.
    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;

    /// [`Operation::constraint_checks`]; after a failure, of the part that failed.
    fn constraint_checks(&self) -> Vec<ConstraintCheck>;

    /// Where several operations make one write: those before the one that failed.
    fn way_to_failure(&self) -> Option<&dyn Retrace> {
        None
    }
}

/// Operations that were carried out before another one failed.
pub trait Retrace: Send + Sync {
    /// Applies them again, in a transaction that is rolled back afterwards.
    fn retrace<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// What the store has to know of the call that a write belongs to.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method, as in `/bookstore.v1.BookService/CreateBook`.
    pub method: &'static str,
    /// Who calls; none until callers are authenticated.
    pub principal: Option<String>,
    /// When the caller stops waiting.
    pub deadline: Deadline,
    /// How much of other transactions this one may see. SQLite is always serializable.
    pub isolation: IsolationLevel,
    /// The key under which the write happens once, with the mark of its request.
    pub idempotency: Option<IdempotencyKey>,
    /// Whether everything is to be rolled back at the end. Its key is ignored then.
    pub validate_only: bool,
    /// How often the write was tried so far, and where; also readable where it failed.
    pub attempts: Attempts,
    /// Counts the memory of the rows that it reads.
    pub meter: Option<Arc<dyn Meter>>,
}

impl Call {
    /// The key to look up and to keep.
    fn kept_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency.as_ref().filter(|_| !self.validate_only)
    }
}

/// The attempts at a write, which clones share.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<Mutex<(u32, Option<Arc<str>>)>>);

impl Attempts {
    /// How many there were; none if the write wasn't begun.
    pub fn count(&self) -> u32 {
        self.lock().0
    }

    /// The node of the last one.
    pub fn node(&self) -> Option<Arc<str>> {
        self.lock().1.clone()
    }

    /// Notes one more and says which it is.
    fn note(&self, node: Arc<str>) -> u32 {
        let mut attempts = self.lock();
        *attempts = (attempts.0 + 1, Some(node));
        attempts.0
    }

    fn lock(&self) -> MutexGuard<'_, (u32, Option<Arc<str>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that has happened.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The encoded response.
    pub answer: Vec<u8>,
    /// From which position on it can be seen; none if the connection ended right after.
    pub position: Option<Position>,
    /// The node that did it.
    pub node: Arc<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether the answer is that of an earlier call with the same key.
    pub replayed: bool,
}

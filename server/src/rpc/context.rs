//! What each call's metadata says: one [`RequestContext`] a call.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bookstore_auth::Principal;
use bookstore_store::{
    Attempts, Committed, Deadline, Freshness, Position, ServingNode, StoreError,
};
use tonic::Status;
use uuid::Uuid;

use super::{answer_mask::AnswerMask, consistency::Consistency, session::SessionCell, status};
use crate::{
    budget::CallBudget,
    security::{
        access::{AccessControl, StreamAccess},
        audit::PeerAddress,
    },
};

/// What the layers have read from a call's metadata, for its handler.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The method, as in `/bookstore.v1.BookService/GetBook`.
    pub method: &'static str,
    /// Finds the call in logs: the caller's, or one made here.
    pub request_id: Arc<str>,
    /// When the caller stops waiting (`grpc-timeout`).
    pub deadline: Deadline,
    /// How fresh a node must be that answers a read (`consistency`).
    pub consistency: Consistency,
    /// What a read must see (`consistency-token`), sealed.
    pub consistency_token: Option<String>,
    /// How far the connection's session has come.
    pub session: SessionCell,
    /// What the call holds of its connection's budget.
    pub budget: Arc<CallBudget>,
    /// The authenticated caller; none without credentials.
    pub principal: Option<Arc<Principal>>,
    /// What judges the parts of the call; none without a policy, and for a method whose calls have
    /// no parts of several kinds.
    pub control: Option<Arc<AccessControl>>,
    /// Where the call comes from, for the log.
    pub peer: PeerAddress,
    /// The credentials of a call that streams, to be verified again before each message; none
    /// without a policy.
    pub stream_access: Option<StreamAccess>,
    /// The key under which a write happens once (`idempotency-key`).
    pub idempotency: Option<Uuid>,
    /// Whether everything is to be rolled back at the end (`validate-only`).
    pub validate_only: bool,
    /// Whether the caller has sent the call before, and a second one could do it twice.
    pub repeated: bool,
    /// What of the answer the caller asks for (`field-mask`); none is all of it.
    pub field_mask: Option<AnswerMask>,
    /// What the call learns, for the response's metadata.
    pub answer: AnswerCell,
}

impl RequestContext {
    /// The name of the caller, whose own idempotency keys and page tokens are.
    pub fn caller(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| &*principal.name)
    }

    /// The freshness that a read's options ask for, once the writes of its session have ended whose
    /// callers have left, if it has to see them; then also how many have left.
    pub async fn settled(&self, token: Option<Position>) -> (Freshness, Option<u64>) {
        let departures = match self.consistency {
            Consistency::Session | Consistency::Strong => {
                Some(self.session.settled(self.deadline).await)
            }
            Consistency::AtLeast | Consistency::Eventual => None,
        };
        (self.session.freshness(self.consistency, token), departures)
    }

    /// Notes a read, for the answer and for the session.
    pub fn note_read(
        &self,
        node: Option<ServingNode>,
        position: Option<Position>,
        database: Duration,
    ) {
        self.answer.note_read(node, position, database);
        if let Some(position) = position {
            self.session.note(position);
        }
    }

    /// The status of a store's error. After an error that says that a write may be lost, the
    /// session forgets its position.
    pub fn status(&self, error: &StoreError) -> Status {
        if let StoreError::PositionLost | StoreError::PositionUnverifiable = error {
            self.session.forget();
        }
        status::store(error, &self.request_id)
    }
}

/// The facts for a call's response metadata, which one layer writes.
#[derive(Clone, Debug, Default)]
pub struct AnswerCell(Arc<Mutex<AnswerFacts>>);

/// The facts about a call's result.
#[derive(Clone, Debug, Default)]
pub struct AnswerFacts {
    /// The node that answered.
    pub node: Option<ServingNode>,
    /// Whether the caller may learn the name of the node, beside its role.
    pub names_node: bool,
    /// From which position on a write can be seen, or up to which one was read.
    pub position: Option<Position>,
    /// How often a write was tried.
    pub attempts: Option<u32>,
    /// Whether the answer is a stored one.
    pub replayed: bool,
    /// The ids that a write has made or changed, for the log.
    pub ids: Option<Arc<str>>,
    /// How long the call used the database, the wait for a connection included.
    pub database: Option<Duration>,
}

impl AnswerCell {
    /// Notes a write that has happened.
    pub fn note_write(&self, committed: &Committed, ids: Option<Arc<str>>, database: Duration) {
        let mut facts = self.lock();
        facts.node = Some(committed.node.clone());
        facts.position = committed.position;
        facts.attempts = Some(committed.attempts);
        facts.replayed = committed.replayed;
        facts.ids = ids;
        facts.database = Some(database);
    }

    /// Notes a write that has failed; one that was not begun had no attempt and no node.
    pub fn note_failed_write(&self, attempts: &Attempts, database: Duration) {
        let mut facts = self.lock();
        facts.node = attempts.node();
        facts.attempts = Some(attempts.count()).filter(|count| *count > 0);
        facts.database = Some(database);
    }

    /// Notes a read.
    pub fn note_read(
        &self,
        node: Option<ServingNode>,
        position: Option<Position>,
        database: Duration,
    ) {
        let mut facts = self.lock();
        facts.node = node;
        facts.position = position;
        facts.database = Some(database);
    }

    /// Lets the caller learn the name of the node, beside its role.
    pub fn name_node(&self) {
        self.lock().names_node = true;
    }

    /// For the log: the name of the node that answered, the ids that a write has made or changed, and
    /// whether the answer is a stored one.
    pub fn logged(&self) -> (Option<Arc<str>>, Option<Arc<str>>, bool) {
        let facts = self.lock();
        (facts.node.as_ref().map(|node| node.name.clone()), facts.ids.clone(), facts.replayed)
    }

    /// What was noted so far.
    pub fn facts(&self) -> AnswerFacts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, AnswerFacts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The store: every session, transaction and retry of the service, on either engine.
//!
//! It depends on neither the contract nor the tables of the bookstore. Resources give it
//! [`Operation`]s and [`Query`]s, and [`Constraint`]s that map a constraint to a field of the
//! request.
//!
//! | Module | Holds |
//! |---|---|
//! | `store` | [`Store`]: writes ([`Store::run`]), reads ([`Store::read`], [`Store::reader`]), and all else that the service calls |
//! | `options` | how a store is opened |
//! | `read_limits` | how long a read may take, and how many may scan at a time |
//! | `schema` | whether the database has the schema that the program needs; sessions for migrations |
//! | `transaction` | [`Operation`], [`Query`], [`Write`]; begin, commit, rollback, retries; transactions that callers lead |
//! | `idempotency` | keys under which a write happens once, and their outcomes ([`LookUpOutcome`]) |
//! | `coalescing` | reads of rows by their ids that share a statement under load |
//! | `topology` | several nodes: probes, roles, lag, and which node answers |
//! | `pool` | the connections to one node, and how calls wait for them |
//! | `call` | what the store must know of a call, and the result of a write |
//! | `constraint` | from a broken constraint to the request's fields that broke it |
//! | `session` | one connection of either engine, how it is opened, its timeouts and its statement log |
//! | `position` | positions in the history of commits, and how fresh a read must be |
//! | `error`, `cause` | the errors; those of a database classified once, by code, for both engines |
//! | `precondition`, `violation` | what a resource's own rules say about a request |
//! | `telemetry` | the store's metrics and the spans of operations and statements |
//! | `clock`, `deadline`, `sealing` | the current time, the end of a call's time, and seals of tokens |
//!
//! Imports point downward in this table, except that `call` names the key of `idempotency`. No two
//! files import each other.

mod call;
mod cause;
mod clock;
mod coalescing;
mod constraint;
mod deadline;
mod error;
mod idempotency;
mod options;
mod pool;
mod position;
mod precondition;
mod read_limits;
mod schema;
pub mod sealing;
mod serving_node;
mod session;
mod store;
pub mod telemetry;
mod topology;
mod transaction;
mod violation;

pub use self::{
    call::{Attempts, Call, Committed, WriteObserver},
    cause::ConstraintKind,
    clock::now,
    coalescing::row::{RowKind, RowsById, SharedRows},
    constraint::{Constraint, ConstraintCheck, ConstraintRule},
    deadline::Deadline,
    error::StoreError,
    idempotency::{CountKeys, IdempotencyKey, LargeAnswers, LookUpOutcome, Outcome},
    options::StoreOptions,
    pool::{PoolOptions, PoolStats, PooledConnection},
    position::{Bounds, Freshness, Position},
    precondition::Precondition,
    read_limits::Limit,
    schema::{Needs, Schema},
    serving_node::ServingNode,
    session::{
        connect::{PlainConnection, open_in_memory},
        connection::{Connection, driver::Access},
        rows::{Meter, Rows},
        statement_log::StatementLog,
        statement_text::{CachedStatement, StatementText},
    },
    store::{ReadResult, Store},
    topology::{NodeRole, NodeStatus, TopologyOptions},
    transaction::{Begun, Operation, Query, Retrace, StepError, Transaction, Write},
    violation::FieldViolation,
};

//! The store: every session, transaction and retry of the service, on either engine.
//!
//! It knows neither the wire nor the tables of the bookstore. Those come to it as [`Operation`]s
//! and [`Query`]s, and as [`Constraint`]s that say which field of a request a constraint is about.
//!
//! | Module | Holds |
//! |---|---|
//! | `store` | [`Store`]: writes ([`Store::run`]), reads ([`Store::read`], [`Store::reader`]), how it is opened |
//! | `transaction` | [`Operation`], [`Query`], [`Write`]; begin, commit, roll back, try again; transactions that callers lead |
//! | `idempotency` | a write under a key happens once; what became of a key ([`LookUpOutcome`]) |
//! | `constraint` | from a broken constraint to the request's fields that broke it |
//! | `topology` | several nodes: probes, roles, lag, and which node answers |
//! | `pool` | the connections to one node, and how calls wait for them |
//! | `session` | one connection of either engine, how it is opened, its timeouts and its statement log |
//! | `schema` | whether the database has the schema that the program needs; sessions for migrations |
//! | `position` | places in the history of commits, and how much a read must see |
//! | `error` | database errors classified once, by code, for both engines |
//! | `precondition`, `violation` | what a resource's own rules say about a request |
//! | `telemetry` | the store's metrics and the spans of operations and statements |
//! | `clock`, `deadline`, `sealing` | the current time, the end of a call's time, and seals of tokens |
//!
//! Imports point downward in this table, and no two files import each other.

mod clock;
mod constraint;
mod deadline;
mod error;
mod idempotency;
mod pool;
mod position;
mod precondition;
mod schema;
pub mod sealing;
mod session;
mod store;
pub mod telemetry;
mod topology;
mod transaction;
mod violation;

pub use self::{
    clock::now,
    constraint::{Constraint, ConstraintCheck, ConstraintRule},
    deadline::Deadline,
    error::{ConstraintKind, StoreError},
    idempotency::{IdempotencyKey, LookUpOutcome, Outcome},
    pool::{PoolOptions, PoolStats, PooledConnection},
    position::{Freshness, Position},
    precondition::{Precondition, PreconditionKind},
    schema::{Needs, Schema},
    session::{
        connect::{PlainConnection, open_in_memory},
        connection::{Access, Connection},
        rows::{Meter, Rows},
        statement_log::StatementLog,
    },
    store::{Limit, ReadResult, Store, StoreOptions},
    topology::{NodeRole, NodeStatus, TopologyOptions},
    transaction::{
        Attempts, Begun, Call, Committed, Operation, Query, Retrace, StepError, Transaction, Write,
    },
    violation::FieldViolation,
};

//! The store: every connection, transaction and query of the service, on either engine.
//!
//! It knows neither the wire nor the resources: those come to it as operations, queries
//! and [`Resource`]s.

pub mod children;
mod claim;
mod connect;
mod connection;
mod control;
pub mod crud;
mod deadline;
mod error;
pub mod field;
pub mod filter;
mod idempotency;
mod interrupt;
pub mod list;
pub mod mean;
mod migrations;
pub mod order;
mod outcome;
pub mod page;
pub mod page_token;
mod pool;
mod routing;
mod rows;
mod schema;
pub mod search;
mod stamp;
mod statement_log;
mod transaction;
mod unmet;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sea_orm::DbBackend;
use tokio::sync::Semaphore;

pub use self::{
    claim::{Claim, Constraint, Rule},
    connection::{Access, Connection},
    crud::Resource,
    deadline::Deadline,
    error::{ConstraintKind, Fault, StoreError},
    idempotency::IdempotencyKey,
    migrations::MigrationSession,
    outcome::{LookUpOutcome, Outcome},
    pool::{Lease, PoolOptions, PoolStats},
    routing::{Freshness, Position},
    rows::Rows,
    schema::Schema,
    statement_log::StatementLog,
    transaction::{
        Attempts, Begun, Call, Committed, Operation, Query, Retrace, StepError, Transaction, Write,
    },
    unmet::{Condition, Unmet},
};

pub(crate) use self::stamp::{operations, queries};

use self::{connect::Connector, control::Control, idempotency::Turns, pool::Pool};

/// The name of the only node.
const PRIMARY: &str = "primary";

/// The most sessions that read a SQLite file at once; each has a thread of its own.
const SQLITE_READERS: u32 = 4;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where the database is: `sqlite:`, `postgres:` or `postgresql:`. A secret.
    pub url: String,
    /// How many connections there may be. SQLite has one for writing and up to four for reading.
    pub pool: PoolOptions,
    /// The longest that a statement may take.
    pub command_timeout: Duration,
    /// What is told of statements.
    pub statement_log: StatementLog,
}

/// The database as the service uses it. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

// No Debug here or below: the URL and the key are secrets.
struct Inner {
    url: String,
    connector: Connector,
    writers: Arc<Pool>,
    /// The same pool as `writers` on PostgreSQL.
    readers: Arc<Pool>,
    control: Arc<Control>,
    sealing_key: RwLock<Option<[u8; 32]>>,
    turns: Arc<Turns>,
    /// For transactions that their callers lead; the same as `read_slots` on PostgreSQL.
    write_slots: Arc<Semaphore>,
    read_slots: Arc<Semaphore>,
}

impl Store {
    /// Reads the options; connections are opened when they are needed.
    ///
    /// # Errors
    /// If the URL can't be read.
    pub fn new(options: StoreOptions) -> Result<Self, StoreError> {
        let StoreOptions { url, pool, command_timeout, statement_log } = options;
        let connector = Connector::new(&url, statement_log, command_timeout)?;
        let control = Arc::new(Control::new(connector.clone()));
        let (writers, readers, write_slots, read_slots) = match connector.backend() {
            DbBackend::Sqlite => {
                // SQLite has one writer at a time: more would only wait for each other, unfairly.
                let one = PoolOptions { size: 1, max_overflow: 0, ..pool };
                let few =
                    PoolOptions { size: pool.size.min(SQLITE_READERS), max_overflow: 0, ..pool };
                let pool =
                    |options| Pool::new(PRIMARY, connector.clone(), control.clone(), options);
                let slots = (transaction::slots(one.most()), transaction::slots(few.most()));
                (pool(one), pool(few), slots.0, slots.1)
            }
            _ => {
                let slots = transaction::slots(pool.most());
                let pool = Pool::new(PRIMARY, connector.clone(), control.clone(), pool);
                (pool.clone(), pool, slots.clone(), slots)
            }
        };
        let (sealing_key, turns) = Default::default();
        Ok(Self(Arc::new(Inner {
            url,
            connector,
            writers,
            readers,
            control,
            sealing_key,
            turns,
            write_slots,
            read_slots,
        })))
    }

    /// Carries a write out, or not at all: begins, applies, commits, and tries again where it
    /// collides with another one. Once it has begun it runs to its end, also if this future is
    /// dropped. A write with a key that has happened already isn't carried out again: its
    /// answer is the one that was kept.
    ///
    /// # Errors
    /// What the operation says, broken constraints told by the request's fields, and what
    /// can happen to a transaction. But for [`StoreError::CommitOutcomeUnknown`], nothing
    /// was changed.
    pub async fn run(
        &self,
        call: Call,
        mut write: Box<dyn Write>,
    ) -> Result<Committed, StoreError> {
        write.prepare().await?;
        let turn = match &call.idempotency {
            // Before a connection is taken: twins that wait would hold one each.
            Some(key) => {
                Some(self.0.turns.take(call.principal.as_deref(), key.key, call.deadline).await?)
            }
            None => None,
        };
        // A caller that leaves while it waits here leaves nothing behind.
        let lease = self.0.writers.lend(Access::ReadWrite, call.deadline).await?;
        transaction::carry_out(lease, call, write, turn).await
    }

    /// Lends a read-only connection to a node that is fresh enough. The only node is the
    /// primary, which is as fresh as can be.
    ///
    /// # Errors
    /// If no connection is free in time or none can be opened.
    pub async fn reader(
        &self,
        _freshness: Freshness,
        deadline: Deadline,
    ) -> Result<Lease, StoreError> {
        let lease = self.0.readers.lend(Access::ReadOnly, deadline).await?;
        lease.set_deadline(deadline);
        Ok(lease)
    }

    /// How the pools are at this moment: one, or on SQLite the one that writes and the one that
    /// reads.
    pub fn pools(&self) -> Vec<PoolStats> {
        let (writers, readers) = (&self.0.writers, &self.0.readers);
        let readers = (!Arc::ptr_eq(writers, readers)).then_some(readers);
        [Some(writers), readers].into_iter().flatten().map(|pool| pool.stats()).collect()
    }

    /// The key that seals page tokens; none until the schema has been found right.
    pub fn sealing_key(&self) -> Option<[u8; 32]> {
        *self.0.sealing_key.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections that nobody uses; those in use end when they come back.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writers.close().await;
        self.0.control.close().await;
    }
}

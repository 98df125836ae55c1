//! The store's front: how it is opened, and how writes and reads find a connection.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sea_orm::{DbBackend, DbErr};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    deadline::Deadline,
    error::StoreError,
    idempotency::KeyLocks,
    pool::{PoolOptions, PoolStats, PooledConnection},
    position::{Freshness, Position},
    session::{connect::Connector, rows::Meter, statement_log::StatementLog},
    topology::{self, Choice, Node, NodeStatus, Topology, TopologyOptions},
    transaction::{self, Call, Committed, Query, Write},
};

/// The most sessions that read a SQLite file at once; each has a thread of its own.
const SQLITE_READERS: u32 = 4;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// The nodes: a name for people, and where each is (`sqlite:`, `postgres:` or `postgresql:`,
    /// a secret). At least one; the first that is seen says which cluster it is about.
    pub nodes: Vec<(String, String)>,
    /// How many connections there may be to each node. SQLite has one for writing and up to four
    /// for reading.
    pub pool: PoolOptions,
    /// How reads and writes find their node.
    pub topology: TopologyOptions,
    /// The longest that a statement may take.
    pub command_timeout: Duration,
    /// The longest that a read of a single call may take ([`Limit::Call`]).
    pub read_timeout: Duration,
    /// What is told of statements.
    pub statement_log: StatementLog,
    /// The key that seals tokens, where it isn't the database's own.
    pub sealing_key: Option<[u8; 32]>,
}

/// The database as the service uses it. Cheap to clone.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

// No Debug here or below: the URLs and the key are secrets.
pub(crate) struct Inner {
    pub(crate) topology: Arc<Topology>,
    pub(crate) sealing_key: RwLock<Option<[u8; 32]>>,
    pub(crate) given_key: Option<[u8; 32]>,
    pub(crate) key_locks: Arc<KeyLocks>,
    /// For transactions that their callers lead; the same as `read_slots` on PostgreSQL.
    pub(crate) write_slots: Arc<Semaphore>,
    pub(crate) read_slots: Arc<Semaphore>,
    limits: ReadLimits,
}

/// What bounds reads.
struct ReadLimits {
    /// How long one of a single call may take.
    timeout: Duration,
    /// How long a query that scans waits for others of its kind.
    wait: Duration,
    /// One permit for each query that scans.
    scans: Arc<Semaphore>,
}

/// How long a read may take, beside its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As long as a statement may: it belongs to an export or an import.
    Statement,
    /// As long as a read of a single call may.
    Call,
}

/// What a read came to, and who answered it.
#[derive(Debug)]
pub struct ReadResult<T> {
    /// The answer.
    pub result: Result<T, StoreError>,
    /// The node that gave it; none if none could be asked.
    pub node: Option<Arc<str>>,
    /// A position that covers all that was read.
    pub position: Option<Position>,
}

impl Store {
    /// Reads the options; connections are opened when they are needed.
    ///
    /// # Errors
    /// If a URL can't be read.
    pub fn new(options: StoreOptions) -> Result<Self, StoreError> {
        let StoreOptions { nodes, pool, topology, command_timeout, .. } = options;
        let StoreOptions { read_timeout, statement_log, sealing_key, .. } = options;
        // SQLite has one writer at a time: more would only wait for each other, unfairly.
        let one = PoolOptions { size: 1, max_overflow: 0, ..pool };
        let few = PoolOptions { size: pool.size.min(SQLITE_READERS), max_overflow: 0, ..pool };
        let pools = |connector: &Connector| match connector.backend() {
            DbBackend::Sqlite => (one, Some(few)),
            _ => (pool, None),
        };
        let open = |(name, url): &(String, String)| {
            Node::new(name, url, statement_log.clone(), command_timeout, pools)
        };
        let nodes: Vec<_> = nodes.iter().map(open).collect::<Result<_, _>>()?;
        let first = nodes.first().ok_or_else(|| StoreError::internal("there is no node"))?;
        let (write_slots, read_slots) = match first.connector.backend() {
            DbBackend::Sqlite => (transaction::slots(one.most()), transaction::slots(few.most())),
            _ => {
                let slots = transaction::slots(pool.most());
                (slots.clone(), slots)
            }
        };
        let readers = match first.connector.backend() {
            DbBackend::Sqlite => few.most(),
            _ => pool.most(),
        };
        // With one connection there is nothing to share: they wait in the pool, as all do.
        let scans = if readers < 2 { Semaphore::MAX_PERMITS } else { readers as usize / 2 };
        let scans = Arc::new(Semaphore::new(scans));
        let limits = ReadLimits { timeout: read_timeout, wait: pool.timeout, scans };
        let topology = Topology::new(nodes, pool.most() as usize / 2, topology);
        let (key, key_locks) = Default::default();
        let given_key = sealing_key;
        let inner = Inner {
            topology,
            sealing_key: key,
            given_key,
            key_locks,
            write_slots,
            read_slots,
            limits,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Follows the nodes, if there are several, for as long as the store is used. Until then
    /// none of them is known.
    pub fn follow(&self) {
        if !self.0.topology.is_single() {
            topology::follow(&self.0.topology);
        }
    }

    /// Each node as it is known. A single node, which isn't probed periodically, is probed now.
    pub async fn nodes(&self, deadline: Deadline) -> Vec<NodeStatus> {
        self.0.topology.probe_single(deadline).await;
        self.0.topology.status()
    }

    /// Probes each node once and says what it is.
    pub async fn probe_nodes(&self, deadline: Deadline) -> Vec<NodeStatus> {
        self.0.topology.probe_all(deadline).await;
        self.0.topology.status()
    }

    /// Carries a write out, or not at all: begins, applies, commits, and tries again where it
    /// collides with another one or its node is lost. Once it has begun it runs to its end, also
    /// if this future is dropped. A write with a key that has happened already isn't carried out
    /// again: its answer is the one that was kept.
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
        let key_lock = match &call.idempotency {
            // Before a connection is checked out: duplicate requests that wait would hold one each.
            Some(key) => Some(
                self.0.key_locks.take(call.principal.as_deref(), key.key, call.deadline).await?,
            ),
            None => None,
        };
        // A caller that leaves while it waits here leaves nothing behind.
        let choice = self.0.topology.writer(call.deadline).await?;
        transaction::carry_out(self.0.topology.clone(), choice, call, write, key_lock).await
    }

    /// Checks out a read-only connection to a node that is fresh enough.
    ///
    /// # Errors
    /// If no connection is free in time or none can be opened, and those of positions.
    pub async fn reader(
        &self,
        freshness: Freshness,
        deadline: Deadline,
    ) -> Result<PooledConnection, StoreError> {
        let choice = self.0.topology.reader(freshness, deadline, &[]).await?;
        choice.pooled.set_deadline(deadline);
        Ok(choice.pooled)
    }

    /// Asks a node that is fresh enough, and another one if that is lost or fails meanwhile: a
    /// read can be repeated.
    pub async fn read<Q: Query>(
        &self,
        freshness: Freshness,
        deadline: Deadline,
        limit: Limit,
        meter: Option<Arc<dyn Meter>>,
        query: &Q,
    ) -> ReadResult<Q::Output> {
        let topology = &self.0.topology;
        let refused = |error| ReadResult { result: Err(error), node: None, position: None };
        let _scan = match Q::SCANS {
            false => None,
            true => {
                let wait = deadline.remaining(self.0.limits.wait);
                let permit = self.0.limits.scans.clone().acquire_owned();
                match timeout(wait, permit).await {
                    Ok(permit) => permit.ok(),
                    Err(_) if deadline.has_passed() => {
                        return refused(StoreError::DeadlineExceeded);
                    }
                    Err(_) => {
                        return refused(StoreError::PoolTimeout {
                            waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                        });
                    }
                }
            }
        };
        let end = match limit {
            Limit::Statement => Deadline::NONE,
            Limit::Call => Deadline::after(self.0.limits.timeout),
        };
        let mut avoid = Vec::new();
        loop {
            let Choice { node, pooled } = match topology.reader(freshness, deadline, &avoid).await {
                Ok(choice) => choice,
                Err(error) => return refused(error),
            };
            pooled.set_deadline(deadline);
            pooled.set_read_end(end);
            pooled.set_meter(meter.clone());
            let lost = || StoreError::Unavailable(DbErr::Custom("the node is gone".into()));
            let result = tokio::select! {
                result = query.fetch(&pooled) => result,
                () = pooled.evicted() => Err(lost()),
            };
            let elsewhere = match &result {
                Err(StoreError::Unavailable(_)) => true,
                // On a replica: what it replays removed rows that the query still saw.
                Err(StoreError::Conflict(_)) => topology.snapshot().primary != Some(node),
                _ => false,
            };
            if !elsewhere || topology.is_single() || avoid.len() > topology.nodes.len() {
                let position = pooled.position(pooled.timeline()).await;
                return ReadResult { result, node: Some(pooled.node()), position };
            }
            topology.nodes[node].failed();
            avoid.push(node);
        }
    }

    /// Whether a primary is known. It asks no node.
    pub fn has_primary(&self) -> bool {
        self.0.topology.snapshot().primary.is_some()
    }

    /// How the pools are at this moment: one a node, on SQLite the one that writes and the one that
    /// reads.
    pub fn pools(&self) -> Vec<PoolStats> {
        let pools = self.0.topology.nodes.iter().flat_map(|node| {
            let (writers, readers) = (&node.writers, &node.readers);
            let readers = (!Arc::ptr_eq(writers, readers)).then_some(readers);
            [Some(writers), readers].into_iter().flatten()
        });
        pools.map(|pool| pool.stats()).collect()
    }

    /// The key that seals page tokens; none until the schema has been found right.
    pub fn sealing_key(&self) -> Option<[u8; 32]> {
        *self.0.sealing_key.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes idle connections; those in use are closed when they come back.
    pub async fn close(&self) {
        for node in &self.0.topology.nodes {
            node.readers.close().await;
            node.writers.close().await;
            node.control.close().await;
        }
    }
}

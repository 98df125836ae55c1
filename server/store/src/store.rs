//! [`Store`]: everything that the service asks of the database.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sea_orm::{DbBackend, DbErr};

use crate::{
    call::{Call, Committed},
    coalescing::coalescer::{Coalesced, Coalescer},
    deadline::Deadline,
    error::StoreError,
    idempotency::{
        key_lock::KeyLocks,
        sweep::{self, SweepKeys},
    },
    options::StoreOptions,
    pool::{PoolOptions, PoolStats, PooledConnection, options::MOST_DEAD_SESSIONS},
    position::{Freshness, Position},
    read_limits::{Limit, ReadLimits},
    schema::{Needs, Schema, migrations, needs, revisions},
    serving_node::ServingNode,
    session::{
        connect::{Connector, PlainConnection},
        rows::Meter,
    },
    topology::{NodeStatus, choose::Choice, follow::follow, node::Node, nodes::Topology},
    transaction::{
        operation::{Query, Write},
        runner,
        session::{self, Begun, Slots},
    },
};

/// The most connections that read a SQLite file. Each has a thread of its own.
const SQLITE_READERS: u32 = 4;

/// The database as the service uses it. Clones share one state.
#[derive(Clone)]
pub struct Store(Arc<StoreInner>);

// Neither type implements Debug: the URLs and the key are secrets.
struct StoreInner {
    topology: Arc<Topology>,
    /// The key in use; `None` before the schema was found right.
    sealing_key: RwLock<Option<[u8; 32]>>,
    given_key: Option<[u8; 32]>,
    key_locks: Arc<KeyLocks>,
    slots: Slots,
    limits: ReadLimits,
    coalescer: Coalescer,
}

/// The result of a read, with the node that answered.
#[derive(Debug)]
pub struct ReadResult<T> {
    /// The answer.
    pub result: Result<T, StoreError>,
    /// The node that answered; `None` if none was available.
    pub node: Option<ServingNode>,
    /// A position that covers all that was read; `None` if it is unknown.
    pub position: Option<Position>,
}

impl Store {
    /// Reads the options. The store opens connections when it needs them.
    ///
    /// # Errors
    /// If there is no node, or a URL is invalid.
    pub fn new(options: StoreOptions) -> Result<Self, StoreError> {
        let StoreOptions { nodes, pool, topology, command_timeout, .. } = options;
        let StoreOptions { read_timeout, statement_log, sealing_key, .. } = options;
        // SQLite has one writer at a time. Several connections would compete for its lock.
        let one = PoolOptions { size: 1, max_overflow: 0, ..pool };
        let few = PoolOptions { size: pool.size.min(SQLITE_READERS), max_overflow: 0, ..pool };
        let pools = |connector: &Connector| match connector.backend() {
            DbBackend::Sqlite => (one, Some(few)),
            _ => (pool, None),
        };
        let is_single = nodes.len() == 1;
        let open = |(name, url): &(String, String)| {
            Node::new(name, url, statement_log.clone(), command_timeout, is_single, pools)
        };
        let nodes: Vec<_> = nodes.iter().map(open).collect::<Result<_, _>>()?;
        let first = nodes.first().ok_or_else(|| StoreError::internal("there is no node"))?;
        let slots = match first.connector.backend() {
            DbBackend::Sqlite => Slots::separate(one.most(), few.most()),
            _ => Slots::shared(pool.most()),
        };
        let readers = match first.connector.backend() {
            DbBackend::Sqlite => few.most(),
            _ => pool.most(),
        };
        let limits = ReadLimits::new(read_timeout, pool.timeout, readers);
        let topology = Topology::new(nodes, pool.most() as usize / 2, topology);
        let coalescer = Coalescer::new(&topology);
        Ok(Self(Arc::new(StoreInner {
            topology,
            coalescer,
            sealing_key: RwLock::default(),
            given_key: sealing_key,
            key_locks: Arc::default(),
            slots,
            limits,
        })))
    }

    /// Starts the periodic probes of several nodes. They end when the store is dropped. A single
    /// node is not probed.
    pub fn follow(&self) {
        if !self.0.topology.is_single() {
            follow(&self.0.topology);
        }
    }

    /// The status of each node. Probes a single node first, which isn't probed periodically.
    pub async fn nodes(&self, deadline: Deadline) -> Vec<NodeStatus> {
        self.0.topology.probe_single(deadline).await;
        self.0.topology.status()
    }

    /// Probes each node once and returns the status of each.
    pub async fn probe_nodes(&self, deadline: Deadline) -> Vec<NodeStatus> {
        self.0.topology.probe_all(deadline).await;
        self.0.topology.status()
    }

    /// Runs a write in a transaction: begins, applies, commits. Repeats it after a collision, and
    /// on the next primary if the primary is lost. A write that has begun runs to its end even if
    /// this future is dropped. If a write under the same key was committed before, the answer is
    /// the stored one.
    ///
    /// # Errors
    /// Those of the operation, broken constraints by the request's fields, and those of the
    /// database. Nothing was changed, except perhaps after [`StoreError::CommitOutcomeUnknown`].
    pub async fn run(
        &self,
        call: Call,
        mut write: Box<dyn Write>,
    ) -> Result<Committed, StoreError> {
        write.prepare().await?;
        // Before the checkout, or each waiting duplicate would hold a connection.
        let key_lock = self.0.key_locks.take_for(&call).await?;
        // Dropping this future here has no effect on the database.
        let choice = self.0.topology.writer(call.deadline).await?;
        runner::run(self.0.topology.clone(), choice, call, write, key_lock).await
    }

    /// Checks out a read-only connection to a node that is fresh enough.
    ///
    /// # Errors
    /// Those of the pool, and [`StoreError::PositionLost`] or
    /// [`StoreError::PositionUnverifiable`].
    pub async fn reader(
        &self,
        freshness: Freshness,
        deadline: Deadline,
    ) -> Result<PooledConnection, StoreError> {
        let choice = self.0.topology.reader(freshness, deadline, &[]).await?;
        choice.pooled.set_deadline(deadline);
        Ok(choice.pooled)
    }

    /// Runs a query on a node that is fresh enough. Repeats it on another node if that one is lost
    /// or fails.
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
        let _permit = match Q::SCANS {
            false => None,
            true => match self.0.limits.scan(deadline).await {
                Ok(permit) => Some(permit),
                Err(error) => return refused(error),
            },
        };
        let end = self.0.limits.end(limit);
        // Held until the read has ended.
        let (mut _running, mut route) = (None, None);
        if let (Some(rows), Limit::Call) = (query.rows_by_id(), limit) {
            let ends = (deadline, end);
            match self.0.coalescer.read(rows, freshness, ends, meter.as_ref()).await {
                Coalesced::Alone(first) => (_running, route) = first.unzip(),
                Coalesced::Found(found) => {
                    let result = query.of_rows(&found.rows);
                    return ReadResult { result, node: Some(found.node), position: found.position };
                }
                Coalesced::Failed(error) => return refused(error),
            }
        }
        let mut avoid = Vec::new();
        loop {
            let choice = match route.take() {
                Some(route) => topology.reader_on(&route, freshness, deadline).await,
                None => topology.reader(freshness, deadline, &avoid).await,
            };
            let Choice { node, pooled } = match choice {
                Ok(choice) => choice,
                Err(error) => return refused(error),
            };
            pooled.set_deadline(deadline);
            pooled.set_read_end(end);
            pooled.set_meter(meter.clone());
            let lost = || StoreError::Unavailable(DbErr::Custom("the node is gone".into()));
            let (result, is_left) = tokio::select! {
                result = query.fetch(&pooled) => (result, false),
                () = pooled.evicted() => (Err(lost()), false),
                () = topology.is_left(node, topology.is_primary(node)) => (Err(lost()), true),
            };
            // A session that had ended while it was idle: there are others, or new ones.
            let again = topology.is_single()
                && result.as_ref().is_err_and(StoreError::is_of_ended_session)
                && avoid.len() < MOST_DEAD_SESSIONS;
            if again {
                avoid.push(node);
                continue;
            }
            let elsewhere = match &result {
                Err(StoreError::Unavailable(_)) => true,
                // A recovery conflict: the replica replayed the removal of rows that the query
                // needed (PostgreSQL, 27.4.2. Handling Query Conflicts).
                Err(StoreError::Conflict(_)) => !topology.is_primary(node),
                _ => false,
            };
            // The read has waited for the primary already.
            let has_waited = is_left && freshness.needs_primary();
            let most = topology.nodes.len();
            if !elsewhere || has_waited || topology.is_single() || avoid.len() > most {
                let position = pooled.position(pooled.timeline()).await;
                return ReadResult { result, node: Some(pooled.node()), position };
            }
            // A recovery conflict is no failure of the node.
            if matches!(result, Err(StoreError::Unavailable(_))) {
                topology.eject(node);
            }
            avoid.push(node);
        }
    }

    /// Begins an interactive transaction, which ends by `call.deadline`. Waits at most `wait` for
    /// one of the slots of such transactions. With `reads` it is read-only, on a node that is fresh
    /// enough. `idle` is the longest time between two steps: if this program is cut off, the
    /// database ends the transaction soon after it.
    ///
    /// # Errors
    /// [`StoreError::TransactionLimit`], those of a key, and those of the pool.
    pub async fn begin(
        &self,
        call: Call,
        reads: Option<Freshness>,
        (wait, idle): (Duration, Duration),
    ) -> Result<Begun, StoreError> {
        let key_lock = self.0.key_locks.take_for(&call).await?;
        session::begin(&self.0.topology, &self.0.slots, key_lock, call, reads, (wait, idle)).await
    }

    /// The greatest idle time and duration of transactions that callers lead, given the configured
    /// ones. On SQLite they are at most 500 ms and 5 s, since all other writers wait.
    pub fn transaction_limits(&self, idle: Duration, total: Duration) -> (Duration, Duration) {
        session::limits(self.0.topology.nodes[0].connector.backend(), idle, total)
    }

    /// Deletes the keys that are older than `retention`, and returns their number. Does nothing
    /// while another instance deletes.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn sweep_keys(&self, retention: Duration) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let call = Call::internal("sweep");
            let done = self.run(call, Box::new(SweepKeys { retention })).await?;
            let deleted = done.answer.try_into().map(u64::from_be_bytes).unwrap_or_default();
            all += deleted;
            if deleted < sweep::BATCH {
                return Ok(all);
            }
        }
    }

    /// Whether the database exists. A SQLite file may not have been created yet.
    pub fn exists(&self) -> bool {
        migrations::exists(&self.0.topology)
    }

    /// Compares the database's revisions with those of this program, and reads the sealing key if
    /// none is missing.
    ///
    /// # Errors
    /// If no node answers within `deadline`.
    pub async fn schema(&self, known: &[String], deadline: Deadline) -> Result<Schema, StoreError> {
        let (schema, key) = revisions::compare(&self.0.topology, known, deadline).await?;
        if let Some(key) = key {
            let key = self.0.given_key.unwrap_or(key);
            *self.0.sealing_key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
        }
        Ok(schema)
    }

    /// Returns what of `needs` is missing, as `table`, `table.column`, `table (key)` and
    /// `function()`.
    ///
    /// # Errors
    /// If no node answers within `deadline`.
    pub async fn missing(
        &self,
        needs: &Needs,
        deadline: Deadline,
    ) -> Result<Vec<String>, StoreError> {
        needs::missing(&self.0.topology, needs, deadline).await
    }

    /// Opens a connection to read a schema: to the primary, or to any node that answers if there is
    /// no primary.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_for_inspection(&self) -> Result<PlainConnection, StoreError> {
        migrations::open_for_inspection(&self.0.topology).await
    }

    /// The engine of the database.
    pub fn backend(&self) -> DbBackend {
        migrations::backend(&self.0.topology)
    }

    /// The file of a SQLite database; `None` on PostgreSQL.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        migrations::sqlite_file(&self.0.topology)
    }

    /// Opens a connection for migrations to the primary, outside the pool and without the statement
    /// timeout.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_for_migrations(&self) -> Result<PlainConnection, StoreError> {
        migrations::open(&self.0.topology).await
    }

    /// Opens a connection to try a schema on: on SQLite to a new database in memory, on PostgreSQL
    /// to the primary, where the caller works in a transaction that it rolls back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_scratch(&self) -> Result<PlainConnection, StoreError> {
        migrations::open_scratch(&self.0.topology).await
    }

    /// Whether a primary is known. Asks no node.
    pub fn has_primary(&self) -> bool {
        self.0.topology.has_primary()
    }

    /// The current figures of the pools: one for each node; on SQLite one for writing and one for
    /// reading.
    pub fn pools(&self) -> Vec<PoolStats> {
        let pools = self.0.topology.nodes.iter().flat_map(|node| {
            let (writers, readers) = (&node.writers, &node.readers);
            let readers = (!Arc::ptr_eq(writers, readers)).then_some(readers);
            [Some(writers), readers].into_iter().flatten()
        });
        pools.map(|pool| pool.stats()).collect()
    }

    /// The key that seals tokens; `None` until [`Store::schema`] has found the schema right.
    pub fn sealing_key(&self) -> Option<[u8; 32]> {
        *self.0.sealing_key.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the idle connections. Checked-out ones are closed at their return.
    pub async fn close(&self) {
        for node in &self.0.topology.nodes {
            node.readers.close().await;
            node.writers.close().await;
            node.control.close().await;
            node.probes.close().await;
        }
    }
}

//! One node: its connections, its last probe result, and its failures.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU32},
    },
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    deadline::Deadline,
    error::StoreError,
    pool::{PoolOptions, options::MOST_DEAD_SESSIONS, shared::Pool, waiters::Waiters},
    session::{
        connect::Connector,
        connection::{Connection, driver::Access},
        control::ControlConnection,
        limit::{is_late_opening, is_of_limit},
        statement_log::StatementLog,
    },
    telemetry::meters::NODE_BANS,
    topology::{
        ejection::Failures,
        probe::{self, PERIOD, PROBE_TIMEOUT, ProbeResult},
    },
};

/// How long a question waits for the control connection, before a pooled one is asked.
const PATIENCE: Duration = Duration::from_millis(100);

/// A node of the database.
pub(crate) struct Node {
    /// Host and port; the file of a SQLite database.
    pub name: Arc<str>,
    pub connector: Connector,
    pub writers: Arc<Pool>,
    /// The same pool as `writers` on PostgreSQL.
    pub readers: Arc<Pool>,
    pub control: Arc<ControlConnection>,
    /// The connection of the probes alone: no other question delays them. A single node, whose
    /// probes change no routing, has the control connection for them.
    pub probes: Arc<ControlConnection>,
    /// The last probe result; `None` while the node doesn't answer.
    pub(crate) probe_result: watch::Sender<Option<ProbeResult>>,
    /// The last probe result that was an answer.
    last: Mutex<Option<ProbeResult>>,
    /// The probes in a row that were not answered.
    pub(crate) misses: AtomicU32,
    /// When the server was started, as the last answer has shown; 0 before the first.
    pub(crate) started: AtomicI64,
    /// Held by the one call that probes; the others wait for its result.
    probing: tokio::sync::Mutex<()>,
    /// Wakes the probes of the node.
    pub wake: Arc<Notify>,
    /// The reads that wait for the node to reach a position.
    pub(crate) waiters: Waiters,
    failures: Mutex<Failures>,
}

/// The status of a node, for operators.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Host and port; the file of a SQLite database.
    pub name: String,
    /// Its role.
    pub role: NodeRole,
    /// Its timeline (PostgreSQL, 26.3.6. Timelines); `None` if it is unknown.
    pub timeline: Option<u32>,
    /// The log sequence number that a primary has flushed or a replica has replayed.
    pub position: Option<u64>,
    /// The greatest possible lag of a replica; `None` if it is unknown.
    pub lag: Option<Duration>,
    /// The bytes of the log that a replica has not replayed yet.
    pub lag_bytes: Option<u64>,
    /// The number of checked-out connections.
    pub in_use: u32,
    /// Whether reads avoid the node, since some have failed there.
    pub is_ejected: bool,
}

impl NodeStatus {
    /// Its position in PostgreSQL's notation (8.20. pg_lsn Type), such as `0/3000148`.
    pub fn lsn(&self) -> Option<String> {
        self.position.map(|at| format!("{:X}/{:X}", at >> 32, at & u64::from(u32::MAX)))
    }
}

/// The role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It takes writes.
    Primary,
    /// It follows the primary.
    Replica,
    /// A replica that receives no log, or whose receiver the database role may not see
    /// (`pg_monitor`).
    Detached,
    /// It takes writes on an older timeline. No call goes there.
    FormerPrimary,
    /// It belongs to another cluster.
    ForeignCluster,
    /// It doesn't answer.
    Gone,
}

impl NodeRole {
    /// The role's name in reports, such as `former-primary`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Detached => "detached",
            Self::FormerPrimary => "former-primary",
            Self::ForeignCluster => "foreign-cluster",
            Self::Gone => "gone",
        }
    }
}

impl Node {
    /// Reads a URL; nothing is connected yet. `readers` is the pool for reading, where that is
    /// another than the one for writing. A single node's probes change no routing.
    ///
    /// # Errors
    /// If the URL can't be read.
    pub fn new(
        name: &str,
        url: &str,
        log: StatementLog,
        command_timeout: Duration,
        is_single: bool,
        pools: impl FnOnce(&Connector) -> (PoolOptions, Option<PoolOptions>),
    ) -> Result<Arc<Self>, StoreError> {
        let connector = Connector::new(url, log, command_timeout)?;
        let control = Arc::new(ControlConnection::new(connector.clone()));
        let (writing, reading) = pools(&connector);
        let probes = match is_single {
            true => control.clone(),
            false => Arc::new(ControlConnection::new(connector.clone())),
        };
        let wake = Arc::<Notify>::default();
        let pool =
            |options| Pool::new(name, connector.clone(), control.clone(), options, wake.clone());
        let writers = pool(writing);
        let readers = reading.map_or_else(|| writers.clone(), pool);
        Ok(Arc::new(Self {
            name: name.into(),
            connector,
            writers,
            readers,
            control,
            probes,
            misses: AtomicU32::new(0),
            started: AtomicI64::new(0),
            probe_result: watch::Sender::new(None),
            last: Mutex::default(),
            probing: tokio::sync::Mutex::default(),
            wake,
            waiters: Waiters::default(),
            failures: Mutex::default(),
        }))
    }

    /// Probes the node.
    ///
    /// # Errors
    /// If it doesn't answer in time.
    pub(crate) async fn probe(&self, deadline: Deadline) -> Result<ProbeResult, StoreError> {
        let probe = async |connection: &_| probe::probe(connection).await;
        let seen = match self.ask_first(&self.probes, deadline, probe).await {
            Some(seen) => seen,
            None => self.ask(deadline, probe).await,
        };
        let seen = seen.inspect_err(|error| {
            if matches!(error, StoreError::Unsuitable(_)) {
                // Sessions that other clients use too may answer what others have asked.
                self.evict();
            }
        })?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.after(*last);
        *last = Some(seen);
        Ok(seen)
    }

    /// A probe result that is at most [`PERIOD`] old. Of concurrent calls one probes the node. The
    /// others take a result of at most two periods, or wait if there is none.
    ///
    /// # Errors
    /// If it doesn't answer in time.
    pub(crate) async fn recent_probe(&self, deadline: Deadline) -> Result<ProbeResult, StoreError> {
        let within = |age| (*self.probe_result.borrow()).filter(|seen| seen.at.elapsed() <= age);
        if let Some(seen) = within(PERIOD) {
            return Ok(seen);
        }
        let guard = match (self.probing.try_lock(), within(2 * PERIOD)) {
            // Each call waits for a connection of its own.
            _ if self.readers.is_empty() => return self.fresh_probe(deadline).await,
            (Ok(guard), _) => Ok(guard),
            (Err(_), Some(seen)) => return Ok(seen),
            (Err(_), None) => timeout(deadline.remaining(Duration::MAX), self.probing.lock()).await,
        };
        let _guard = guard.map_err(|_| StoreError::DeadlineExceeded)?;
        if let Some(seen) = within(PERIOD) {
            return Ok(seen);
        }
        self.fresh_probe(deadline).await
    }

    /// Probes the node now and records the result.
    ///
    /// # Errors
    /// If it doesn't answer in time.
    pub(crate) async fn fresh_probe(&self, deadline: Deadline) -> Result<ProbeResult, StoreError> {
        let seen = self.probe(deadline).await?;
        self.probe_result.send_replace(Some(seen));
        Ok(seen)
    }

    /// Runs a query on the control connection, or on a pooled one where the server takes no more
    /// connections.
    ///
    /// # Errors
    /// Those of the query, and those of a connection.
    pub(crate) async fn ask<T>(
        &self,
        deadline: Deadline,
        query: impl AsyncFnOnce(&Connection) -> Result<T, StoreError> + Copy,
    ) -> Result<T, StoreError> {
        if let Some(asked) = self.ask_first(&self.control, deadline, query).await {
            return asked;
        }
        let mut dead_sessions = 0;
        loop {
            let pooled = self.readers.check_out(Access::ReadOnly, deadline).await?;
            pooled.set_deadline(deadline);
            match query(&pooled).await {
                // The session had ended while it was idle.
                Err(error) if error.is_of_ended_session() && dead_sessions < MOST_DEAD_SESSIONS => {
                    dead_sessions += 1;
                }
                asked => return asked,
            }
        }
    }

    /// Runs a query on a connection outside the pool. `None` if it isn't open, and the server takes
    /// no more connections or a pooler lets this one wait.
    async fn ask_first<T>(
        &self,
        first: &ControlConnection,
        deadline: Deadline,
        query: impl AsyncFnOnce(&Connection) -> Result<T, StoreError> + Copy,
    ) -> Option<Result<T, StoreError>> {
        let is_full = |error: &StoreError| is_of_limit(error) || is_late_opening(error);
        let mut asked = first.ask_within(self.patience(), deadline, query).await;
        if let Err(StoreError::Unavailable(_)) = &asked
            && !asked.as_ref().is_err_and(is_full)
        {
            // The session had ended, which says nothing of the node.
            asked = first.ask_within(self.patience(), deadline, query).await;
        }
        (!asked.as_ref().is_err_and(is_full)).then_some(asked)
    }

    /// How long a question waits for the control connection: for ever, if there is no other.
    fn patience(&self) -> Duration {
        if self.readers.is_empty() { Duration::MAX } else { PATIENCE }
    }

    /// Asks whether an operator has made the database read-only, and records it. While it is so, a
    /// new session is opened, since only that shows when it ends.
    pub(crate) async fn examine_read_only(&self) {
        let deadline = Deadline::after(PROBE_TIMEOUT);
        let condition = self.connector.condition();
        if !condition.is_read_only() {
            let asked = self.ask(deadline, async |it| probe::is_read_only(it).await);
            if asked.await.is_ok_and(|is_read_only| is_read_only) {
                condition.set_read_only(true);
            }
        } else if let Ok(Ok(session)) =
            timeout(PROBE_TIMEOUT, self.connector.quiet().open(Access::ReadOnly)).await
        {
            session.close().await;
            if !condition.is_read_only() {
                // Its session was opened in the read-only mode, which it would go on to report.
                self.control.close().await;
            }
        }
    }

    /// Evicts all connections to the node.
    pub(crate) fn evict(&self) {
        self.writers.evict();
        if !Arc::ptr_eq(&self.writers, &self.readers) {
            self.readers.evict();
        }
    }

    /// The number of checked-out connections.
    pub(crate) fn in_use(&self) -> u32 {
        match Arc::ptr_eq(&self.writers, &self.readers) {
            true => self.readers.in_use(),
            false => self.readers.in_use() + self.writers.in_use(),
        }
    }

    /// Ejects the node for a while, since a read has failed on it that may succeed elsewhere.
    pub(super) fn failed(&self) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ban) = failures.note(Instant::now()) else { return };
        drop(failures);
        tracing::warn!(node = %self.name, ?ban, "reads fail on this node: it is ejected");
        NODE_BANS.add(1, &[KeyValue::new("node", self.name.to_string())]);
        self.wake.notify_one();
    }

    /// Whether the node is ejected: for a time, and until a probe succeeds.
    pub(crate) fn is_ejected(&self) -> bool {
        let answered = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.is_ejected(Instant::now(), answered.map(|seen| seen.at))
    }

    /// Waits until a probe shows the node at a position, and returns its result; `None` if the
    /// node stops to answer.
    pub(crate) async fn reaches(&self, number: u64) -> Option<ProbeResult> {
        let _waiting = self.waiters.begin();
        self.wake.notify_one();
        let mut seen = self.probe_result.subscribe();
        let there = |seen: &Option<ProbeResult>| seen.is_none_or(|seen| seen.number >= number);
        seen.wait_for(there).await.ok().and_then(|seen| *seen)
    }
}

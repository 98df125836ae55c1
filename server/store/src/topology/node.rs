//! One node: its connections, its last probe result, and its failures.

use std::{
    sync::{Arc, Mutex, PoisonError},
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
    pool::{PoolOptions, shared::Pool, waiters::Waiters},
    session::{connect::Connector, control::ControlConnection, statement_log::StatementLog},
    telemetry::meters::NODE_BANS,
    topology::probe::{self, PERIOD, ProbeResult},
};

/// How long a node is ejected after its first failure. The time doubles with each further one.
const FIRST_BAN: Duration = Duration::from_millis(250);

/// The longest ejection.
const LONGEST_BAN: Duration = Duration::from_secs(30);

/// The time without a failure after which the ejection time starts from its first value again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// A node of the database.
pub(crate) struct Node {
    /// Host and port; the file of a SQLite database.
    pub name: Arc<str>,
    pub connector: Connector,
    pub writers: Arc<Pool>,
    /// The same pool as `writers` on PostgreSQL.
    pub readers: Arc<Pool>,
    pub control: Arc<ControlConnection>,
    /// The last probe result; `None` while the node doesn't answer.
    pub(crate) probe_result: watch::Sender<Option<ProbeResult>>,
    /// The last probe result that was an answer.
    last: Mutex<Option<ProbeResult>>,
    /// Held by the one call that probes; the others wait for its result.
    probing: tokio::sync::Mutex<()>,
    /// Wakes the probes of the node.
    pub wake: Arc<Notify>,
    /// The reads that wait for the node to reach a position.
    pub(crate) waiters: Waiters,
    failures: Mutex<Failures>,
}

/// The failures of reads on a node.
#[derive(Debug, Default)]
struct Failures {
    times: u32,
    last: Option<Instant>,
    out_until: Option<Instant>,
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
    /// another than the one for writing.
    ///
    /// # Errors
    /// If the URL can't be read.
    pub fn new(
        name: &str,
        url: &str,
        log: StatementLog,
        command_timeout: Duration,
        pools: impl FnOnce(&Connector) -> (PoolOptions, Option<PoolOptions>),
    ) -> Result<Arc<Self>, StoreError> {
        let connector = Connector::new(url, log, command_timeout)?;
        let control = Arc::new(ControlConnection::new(connector.clone()));
        let (writing, reading) = pools(&connector);
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
        let seen = self.control.ask(deadline, probe).await?;
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
    pub fn failed(&self) {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.out_until.is_some_and(|until| until > now) {
            // Concurrent failures count as one.
            return;
        }
        if failures.last.is_none_or(|last| now.duration_since(last) > FORGIVEN) {
            failures.times = 0;
        }
        let ban = FIRST_BAN.saturating_mul(1 << failures.times.min(10)).min(LONGEST_BAN);
        *failures =
            Failures { times: failures.times + 1, last: Some(now), out_until: Some(now + ban) };
        drop(failures);
        tracing::warn!(node = %self.name, ?ban, "reads fail on this node: it is ejected");
        NODE_BANS.add(1, &[KeyValue::new("node", self.name.to_string())]);
        self.wake.notify_one();
    }

    /// Whether the node is ejected: the ejection time is not over, or no probe has succeeded since.
    pub(crate) fn is_ejected(&self, seen: Option<ProbeResult>) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.out_until.is_some_and(|until| until > Instant::now())
            || failures.last.is_some_and(|last| seen.is_none_or(|seen| seen.at < last))
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

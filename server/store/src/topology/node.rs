//! One node: its connections, what was last seen of it, and how it has behaved.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
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
    pool::{Pool, PoolOptions},
    session::{connect::Connector, control::ControlConnection, statement_log::StatementLog},
    telemetry::meters::NODE_BANS,
    topology::{
        follow::PERIOD,
        probe::{self, ProbeResult},
    },
};

/// How long a node is ejected after a failure; twice as long after each further one.
const FIRST_BAN: Duration = Duration::from_millis(250);

/// The longest that it is ejected.
const LONGEST_BAN: Duration = Duration::from_secs(30);

/// After how long without a failure a node begins anew.
const FORGIVEN: Duration = Duration::from_secs(60);

/// A node of the database.
pub(crate) struct Node {
    /// What people know it by: host and port.
    pub name: Arc<str>,
    pub connector: Connector,
    pub url: String,
    pub writers: Arc<Pool>,
    /// The same pool as `writers` on PostgreSQL.
    pub readers: Arc<Pool>,
    pub control: Arc<ControlConnection>,
    pub(crate) probe_result: watch::Sender<Option<ProbeResult>>,
    /// The last one, also while the node is gone.
    last: Mutex<Option<ProbeResult>>,
    /// Held by the call that probes for all calls that wait for the result.
    probing: tokio::sync::Mutex<()>,
    /// Has the node probed at once.
    pub wake: Arc<Notify>,
    /// How many reads wait for it to reach a position.
    pub(crate) waiting: AtomicUsize,
    failures: Mutex<Failures>,
}

/// How a node has behaved.
#[derive(Debug, Default)]
struct Failures {
    times: u32,
    last: Option<Instant>,
    out_until: Option<Instant>,
}

/// A node as people are told of it.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Host and port; the file of a SQLite database.
    pub name: String,
    /// What it is at the moment.
    pub role: NodeRole,
    /// Its branch of history.
    pub timeline: Option<u32>,
    /// The log sequence number that it has flushed or replayed.
    pub position: Option<u64>,
    /// How far a replica lags, at most.
    pub lag: Option<Duration>,
    /// How much of the log it lacks, in bytes.
    pub lag_bytes: Option<u64>,
    /// How many connections to it are checked out.
    pub in_use: u32,
    /// Whether reads pass it over because some have failed there.
    pub is_ejected: bool,
}

impl NodeStatus {
    /// Its position as PostgreSQL writes one, such as `0/3000148`.
    pub fn lsn(&self) -> Option<String> {
        self.position.map(|at| format!("{:X}/{:X}", at >> 32, at & u64::from(u32::MAX)))
    }
}

/// What a node is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It takes writes.
    Primary,
    /// It follows the primary.
    Replica,
    /// A replica that receives nothing, or whose receiver this role may not see.
    Detached,
    /// It takes writes on an older branch of history: nothing is sent there.
    FormerPrimary,
    /// It belongs to another cluster.
    ForeignCluster,
    /// It doesn't answer.
    Gone,
}

impl NodeRole {
    /// The word for it.
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
            url: url.to_owned(),
            writers,
            readers,
            control,
            probe_result: watch::Sender::new(None),
            last: Mutex::default(),
            probing: tokio::sync::Mutex::default(),
            wake,
            waiting: AtomicUsize::new(0),
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

    /// What was seen of the node lately, or is now: of those who ask together one looks, each
    /// [`PERIOD`], and the others wait for it only where what is known is older than two.
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

    /// What the node is now.
    ///
    /// # Errors
    /// If it doesn't answer in time.
    pub(crate) async fn fresh_probe(&self, deadline: Deadline) -> Result<ProbeResult, StoreError> {
        let seen = self.probe(deadline).await?;
        self.probe_result.send_replace(Some(seen));
        Ok(seen)
    }

    /// Gives up all connections.
    pub(crate) fn evict(&self) {
        self.writers.evict();
        if !Arc::ptr_eq(&self.writers, &self.readers) {
            self.readers.evict();
        }
    }

    /// How many connections are checked out.
    pub(crate) fn in_use(&self) -> u32 {
        match Arc::ptr_eq(&self.writers, &self.readers) {
            true => self.readers.in_use(),
            false => self.readers.in_use() + self.writers.in_use(),
        }
    }

    /// A read has failed here that may succeed elsewhere: the node is ejected for a while.
    pub fn failed(&self) {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.out_until.is_some_and(|until| until > now) {
            // Those that were under way at the same time are one failure.
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

    /// Whether the node is ejected: its time isn't over, or no probe has succeeded since.
    pub(crate) fn is_ejected(&self, seen: Option<ProbeResult>) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.out_until.is_some_and(|until| until > Instant::now())
            || failures.last.is_some_and(|last| seen.is_none_or(|seen| seen.at < last))
    }

    /// Waits until the node has been seen at a position, and says as what.
    pub(crate) async fn reaches(&self, number: u64) -> Option<ProbeResult> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        self.wake.notify_one();
        let mut seen = self.probe_result.subscribe();
        let there = |seen: &Option<ProbeResult>| seen.is_none_or(|seen| seen.number >= number);
        seen.wait_for(there).await.ok().and_then(|seen| *seen)
    }
}

//! The holder of a node's connections: a size, an overflow, and a bounded fair wait.
//!
//! Connections go back here and never to a driver's pool, whose ping at every return costs
//! as much as a small query.

mod idle;
mod pooled;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use rand::Rng;
use sea_orm::DbErr;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    time::{sleep, timeout},
};

use self::idle::{Checkout, Idle, IdleList, SURPLUS_IDLE};
pub use self::pooled::PooledConnection;
use crate::{
    deadline::Deadline,
    error::StoreError,
    session::{
        connect::Connector,
        connection::{Access, Connection, TransactionState},
        control::ControlConnection,
    },
    telemetry::meters::{POOL_CONNECTIONS, POOL_WAIT},
};

/// How long an abandoned statement may take to end once it was told to.
const RECOVERY: Duration = Duration::from_secs(1);

/// How long after a cancellation the statement is told again.
const CANCELLED: Duration = Duration::from_millis(50);

/// The knobs of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// How many connections are kept open.
    pub size: u32,
    /// How many more may be opened while all are busy; they are closed once they have been
    /// idle for 10 s.
    pub max_overflow: u32,
    /// How long a call waits for a connection.
    pub timeout: Duration,
    /// How old a connection may become, give or take a tenth, so that not all are opened anew at
    /// once.
    pub recycle: Duration,
    /// Whether a connection that was idle for 10 s is tried before it is checked out.
    pub pre_ping: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            size: 10,
            max_overflow: 20,
            timeout: Duration::from_secs(3),
            recycle: Duration::from_hours(1),
            pre_ping: true,
        }
    }
}

/// How long it may take to try an idle connection before it is checked out.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections of a pool, counted.
#[derive(Clone, Debug)]
pub struct PoolStats {
    /// The node that they lead to.
    pub node: Arc<str>,
    /// Those that are checked out, or being opened or closed.
    pub used: u32,
    /// Idle ones.
    pub idle: u32,
    /// The most that there may be.
    pub most: u32,
}

/// The connections of one node, for reading and for writing.
pub(crate) struct Pool {
    node: Arc<str>,
    connector: Connector,
    control: Arc<ControlConnection>,
    options: PoolOptions,
    /// One permit a checked-out connection; callers wait in the order of their arrival.
    permits: Arc<Semaphore>,
    idle_list: Mutex<IdleList>,
    /// Connections of an earlier generation are never checked out again.
    generation: watch::Sender<u64>,
    /// Told when a session has ended by itself: the node may have gone.
    lost: Arc<Notify>,
    /// Its name in metrics.
    labels: [KeyValue; 1],
}

impl Pool {
    pub(crate) fn new(
        node: &str,
        connector: Connector,
        control: Arc<ControlConnection>,
        options: PoolOptions,
        lost: Arc<Notify>,
    ) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(options.most() as usize));
        let (idle_list, generation) = (Mutex::default(), watch::Sender::new(0));
        let labels = [KeyValue::new("db.client.connection.pool.name", node.to_owned())];
        let pool = Arc::new(Self {
            node: node.into(),
            connector,
            control,
            options,
            permits,
            idle_list,
            generation,
            lost,
            labels,
        });
        let watched = Arc::downgrade(&pool);
        POOL_CONNECTIONS.observe(move |observer| {
            let Some(pool) = watched.upgrade() else { return };
            let open = pool.idle_list().open;
            let used = pool.in_use();
            for (state, count) in [("used", used), ("idle", open.saturating_sub(used))] {
                let state = KeyValue::new("db.client.connection.state", state);
                observer.observe(f64::from(count), &[pool.labels[0].clone(), state]);
            }
        });
        pool
    }

    /// How many connections are checked out.
    pub(crate) fn in_use(&self) -> u32 {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        self.options.most().saturating_sub(free)
    }

    /// Evicts every connection, checked-out ones too: what is under way on them ends with an error
    /// so, and nothing is committed on them any more.
    pub(crate) fn evict(&self) {
        self.generation.send_modify(|generation| *generation += 1);
        let mut idle_list = self.idle_list();
        let idle = std::mem::take(&mut idle_list.idle);
        idle_list.open -= u32::try_from(idle.len()).unwrap_or_default();
        drop(idle_list);
        // Without a goodbye, as the node may be silent.
        drop(idle);
    }

    /// Checks out a connection: an idle one, or a new one while there is room for it.
    ///
    /// # Errors
    /// [`StoreError::PoolTimeout`] if none is free in time, [`StoreError::DeadlineExceeded`],
    /// [`StoreError::Unavailable`] if a new one can't be opened.
    pub(crate) async fn check_out(
        self: &Arc<Self>,
        access: Access,
        deadline: Deadline,
    ) -> Result<PooledConnection, StoreError> {
        let began = Instant::now();
        let limit = deadline.remaining(self.options.timeout);
        let late = |otherwise: StoreError| match deadline.has_passed() {
            true => StoreError::DeadlineExceeded,
            false => otherwise,
        };
        let permit = timeout(limit, self.permits.clone().acquire_owned()).await;
        // Those that waited in vain too: it is they who tell that the pool is too small.
        POOL_WAIT.record(began.elapsed().as_secs_f64(), &self.labels);
        let Ok(permit) = permit else {
            let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Err(late(StoreError::PoolTimeout { waited_ms }));
        };
        let permit = permit.map_err(|_| StoreError::internal("the pool is closed"))?;
        let found = self.idle_list().find(access, &self.options);
        let pooled = |pool: Arc<Self>, permit, connection: Connection| {
            connection.checked_out();
            let (node, permits) = (pool.node.clone(), (Some(permit), None));
            PooledConnection { pool, node, timeline: 0, permits, connection: Some(connection) }
        };
        let (unproven, other) = match found {
            Checkout::Ready(connection) => return Ok(pooled(self.clone(), permit, connection)),
            Checkout::NeedsPing(connection) => (Some(connection), None),
            Checkout::Room => (None, None),
            Checkout::Replace(other) => (None, Some(other)),
        };
        let (pool, slot) = (self.clone(), Opening(Some(self.clone())));
        // In a task of its own: a caller that leaves or has no time to wait would take the
        // half-opened connection with it, and the next one would have to begin again. What
        // no caller waits for goes to the idle list as it is dropped.
        let opening = tokio::spawn(async move {
            if let Some(connection) = unproven {
                let answers = timeout(PING_TIMEOUT, connection.recover()).await;
                if answers.is_ok_and(|answer| answer.is_ok()) {
                    slot.done();
                    return Ok(pooled(pool, permit, connection));
                }
                pool.give_up(connection);
            }
            if let Some(other) = other {
                // The new one takes over its place: but for those that are just being closed,
                // the database never sees more sessions than agreed.
                other.close().await;
            }
            let current = pool.generation.subscribe();
            let generation = *current.borrow();
            let mut evicted = current.clone();
            let opened = async {
                tokio::select! {
                    opened = pool.connector.open(access) => opened,
                    // The pool was evicted meanwhile.
                    _ = evicted.wait_for(|current| *current != generation) => {
                        Err(StoreError::Unavailable(DbErr::Custom("the node is gone".into())))
                    }
                }
            };
            let opened = timeout(pool.options.timeout, opened).await;
            let late = || DbErr::Custom("opening a connection took too long".into());
            let opened = opened.unwrap_or_else(|_| Err(StoreError::Unavailable(late())));
            let connection = opened.inspect_err(|_| pool.lost.notify_one())?;
            let connection = connection.of_generation(generation, current, pool.lifetime());
            slot.done();
            Ok(pooled(pool, permit, connection))
        });
        match timeout(deadline.remaining(Duration::MAX), opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(failure)) => Err(StoreError::internal(format!("opening: {failure}"))),
            Err(_) => Err(StoreError::DeadlineExceeded),
        }
    }

    /// How the pool is at this moment.
    pub(crate) fn stats(&self) -> PoolStats {
        let idle_list = self.idle_list();
        let idle = u32::try_from(idle_list.idle.len()).unwrap_or(u32::MAX);
        let (node, most) = (self.node.clone(), self.options.most());
        PoolStats { node, used: idle_list.open.saturating_sub(idle), idle, most }
    }

    /// Checks out nothing any more and closes idle connections; others are closed as they come
    /// back.
    pub(crate) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut self.idle_list().idle);
        for idle in idle {
            idle.connection.close().await;
        }
    }

    /// Takes a connection back that is fit for its next use.
    fn put_back(self: &Arc<Self>, connection: Connection) {
        if self.permits.is_closed() {
            return in_background(connection.close());
        }
        let mut idle_list = self.idle_list();
        idle_list.idle.push_back(Idle { connection, since: Instant::now() });
        if idle_list.open > self.options.size && !std::mem::replace(&mut idle_list.sweeping, true) {
            let pool = self.clone();
            in_background(async move { pool.sweep().await });
        }
    }

    /// Closes the connections beyond the size that were idle for a while, until there
    /// are none. Closed as they come back they would be opened again at once, as long as the
    /// load lasts.
    async fn sweep(&self) {
        let mut more = true;
        while more {
            sleep(SURPLUS_IDLE).await;
            let surplus = self.idle_list().take_surplus(self.options.size);
            more = self.idle_list().sweeping;
            for idle in surplus {
                idle.connection.close().await;
            }
        }
    }

    /// Ends the statement that was abandoned on a connection, and takes the connection back if
    /// it can be used again.
    async fn recover(self: Arc<Self>, connection: Connection) {
        let ended = timeout(RECOVERY, self.end_statement(&connection)).await;
        let usable = connection.state() == TransactionState::Idle && !connection.is_evicted();
        match ended.unwrap_or_default() && usable {
            true => self.put_back(connection),
            false => self.discard(connection),
        }
    }

    /// Says whether the connection answers again.
    async fn end_statement(&self, connection: &Connection) -> bool {
        loop {
            if let Some(server) = connection.server() {
                self.control.cancel(server.process).await;
            }
            let answered = async {
                // The first answer may be that the statement was cancelled.
                for _ in 0..3 {
                    if connection.recover().await.is_ok() {
                        return true;
                    }
                }
                false
            };
            // A session that had not begun the statement yet passes over a cancellation.
            if let Ok(answers) = timeout(CANCELLED, answered).await {
                return answers;
            }
        }
    }

    /// How old a new connection may become.
    fn lifetime(&self) -> Duration {
        self.options.recycle.mul_f64(rand::rng().random_range(0.9..=1.1))
    }

    /// Gives a connection up that must not be used again.
    fn discard(&self, connection: Connection) {
        self.idle_list().open -= 1;
        self.give_up(connection);
    }

    /// The same for one whose place another one takes.
    fn give_up(&self, connection: Connection) {
        let mut idle_list = self.idle_list();
        let mut lost = VecDeque::new();
        if connection.is_broken() && !connection.is_evicted() {
            self.lost.notify_one();
            // What ended this session has mostly ended them all: a restart, a failover, a
            // network. Otherwise each would cost a caller an error.
            lost = std::mem::take(&mut idle_list.idle);
            idle_list.open -= u32::try_from(lost.len()).unwrap_or_default();
        }
        drop(idle_list);
        // Without a goodbye: the sessions may be stuck, and the database ends them anyway.
        drop((connection, lost));
    }

    fn idle_list(&self) -> MutexGuard<'_, IdleList> {
        self.idle_list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolOptions {
    pub(crate) fn most(&self) -> u32 {
        self.size.saturating_add(self.max_overflow).max(1)
    }
}

/// A place that is taken for a connection which isn't there yet; free again if dropped.
struct Opening(Option<Arc<Pool>>);

impl Opening {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.idle_list().open -= 1;
        }
    }
}

/// Runs a task in the background; at the program's end, when there is no runtime left
/// to run it, the operating system closes what is open.
fn in_background(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(task);
    }
}

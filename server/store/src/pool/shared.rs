//! The shared part of a pool: its idle connections, its permits, and the return of connections.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use rand::Rng;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{
    deadline::Deadline,
    error::StoreError,
    pool::{
        commit_queue::CommitQueue,
        idle::{Idle, IdleList, SURPLUS_IDLE},
        options::{PoolOptions, PoolStats},
        waiters::Waiters,
    },
    position::Position,
    session::{
        connect::Connector,
        connection::{Connection, state::TransactionState},
        control::ControlConnection,
    },
    telemetry::{
        instrument::BoundHistogram,
        meters::{POOL_CONNECTIONS, POOL_WAIT},
    },
};

/// How long an abandoned statement may take to end after its cancellation.
const RECOVERY: Duration = Duration::from_secs(1);

/// The pause between two cancellations of the same statement.
const CANCEL_PERIOD: Duration = Duration::from_millis(50);

/// The connections to one node.
pub(crate) struct Pool {
    pub(crate) node: Arc<str>,
    pub(crate) connector: Connector,
    control: Arc<ControlConnection>,
    pub(crate) options: PoolOptions,
    /// One permit for each checked-out connection. Callers wait in the order of their arrival.
    pub(crate) permits: Arc<Semaphore>,
    /// The callers that wait for a permit. On SQLite also those that wait to begin an interactive
    /// transaction that writes.
    pub(crate) waiters: Waiters,
    idle_list: Mutex<IdleList>,
    /// Commits on PostgreSQL that were answered without a position.
    pub(crate) commit_queue: CommitQueue,
    /// The current generation. The pool never checks out a connection of an earlier one.
    pub(crate) generation: watch::Sender<u64>,
    /// Notified when a connection returns or a slot is free, for callers that found neither.
    pub(crate) returned: Notify,
    /// Notified when a session breaks: the node may be gone.
    pub(crate) lost: Arc<Notify>,
    /// The pool's name in metrics.
    pub(crate) labels: [KeyValue; 1],
    /// How long calls waited for a connection.
    pub(crate) waits: BoundHistogram,
}

impl Pool {
    /// Makes an empty pool. `lost` wakes the probes of the node when a session breaks.
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
            waiters: Waiters::default(),
            idle_list,
            commit_queue: CommitQueue::default(),
            generation,
            returned: Notify::new(),
            lost,
            labels,
            waits: POOL_WAIT.bind(),
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

    /// The number of checked-out connections.
    pub(crate) fn in_use(&self) -> u32 {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        self.options.most().saturating_sub(free)
    }

    /// Evicts every connection, checked-out ones too: exchanges on them end with an error, and
    /// nothing is committed on them any more.
    pub(crate) fn evict(&self) {
        self.generation.send_modify(|generation| *generation += 1);
        let mut idle_list = self.idle_list();
        let idle = std::mem::take(&mut idle_list.idle);
        idle_list.open -= u32::try_from(idle.len()).unwrap_or_default();
        drop(idle_list);
        // Without a Terminate message, since the server may not answer.
        drop(idle);
    }

    /// Whether the pool holds no connection that answers: the next call depends on an opening.
    pub(crate) fn is_empty(&self) -> bool {
        let idle_list = self.idle_list();
        idle_list.open == idle_list.opening
    }

    /// The current figures of the pool.
    pub(crate) fn stats(&self) -> PoolStats {
        let idle_list = self.idle_list();
        let idle = u32::try_from(idle_list.idle.len()).unwrap_or(u32::MAX);
        let (node, most) = (self.node.clone(), self.options.most());
        PoolStats { node, used: idle_list.open.saturating_sub(idle), idle, most }
    }

    /// Refuses further checkouts and closes the idle connections. The others are closed at their
    /// return.
    pub(crate) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut self.idle_list().idle);
        for idle in idle {
            idle.connection.close().await;
        }
    }

    /// Returns a usable connection to the idle list.
    pub(crate) fn put_back(self: &Arc<Self>, connection: Connection) {
        if self.permits.is_closed() {
            return in_background(connection.close());
        }
        let mut idle_list = self.idle_list();
        idle_list.idle.push_back(Idle { connection, since: Instant::now() });
        self.returned.notify_one();
        if idle_list.open > self.options.size && !std::mem::replace(&mut idle_list.sweeping, true) {
            let pool = self.clone();
            in_background(async move { pool.sweep().await });
        }
    }

    /// Closes idle connections beyond the size, until none is left. The pool does not close them
    /// at their return, since it would open them again at once while the load lasts.
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

    /// Cancels the abandoned statement on a connection, and returns the connection to the idle
    /// list if it is usable afterwards.
    pub(crate) async fn recover(self: Arc<Self>, connection: Connection) {
        let ended = timeout(RECOVERY, self.end_statement(&connection)).await;
        let usable = connection.state() == TransactionState::Idle && !connection.is_evicted();
        match ended.unwrap_or_default() && usable {
            true => self.put_back(connection),
            false => self.discard(connection),
        }
    }

    /// Cancels the statement of a connection and returns whether the connection answers again.
    async fn end_statement(&self, connection: &Connection) -> bool {
        loop {
            if let Some(server) = connection.server() {
                self.control.cancel(server.process).await;
            }
            let answered = async {
                // The first answer may be the cancellation of the statement.
                for _ in 0..3 {
                    if connection.recover().await.is_ok() {
                        return true;
                    }
                }
                false
            };
            // A session that has not begun the statement yet ignores a cancellation.
            if let Ok(answers) = timeout(CANCEL_PERIOD, answered).await {
                return answers;
            }
        }
    }

    /// Cancels the statement of a session unless commits may wait for replicas.
    pub(crate) async fn cancel_unless_synchronous(&self, process: i32) {
        self.control.cancel_unless_synchronous(process).await;
    }

    /// The node's position, by the control connection.
    pub(crate) async fn position(&self) -> Option<Position> {
        let deadline = Deadline::after(RECOVERY);
        let asked = self.control.ask(deadline, async |it| {
            it.position(0).await.ok_or_else(|| StoreError::internal("a node says nothing"))
        });
        asked.await.ok()
    }

    /// Waits until a session has ended its transaction, or until the node doesn't answer. A session
    /// that waits for its next statement is ended: COMMIT has never come there. One that waits for
    /// replicas is left alone, since its end would acknowledge the commit without them.
    pub(crate) async fn settle(&self, process: i32) {
        loop {
            let deadline = Deadline::after(RECOVERY);
            let asked = self.control.ask(deadline, async |it| it.is_ending(process).await);
            if !asked.await.is_ok_and(|is_ending| is_ending) {
                return;
            }
            sleep(CANCEL_PERIOD / 5).await;
        }
    }

    /// The lifetime of a new connection, varied so that not all end at once.
    pub(crate) fn lifetime(&self) -> Duration {
        self.options.recycle.mul_f64(rand::rng().random_range(0.9..=1.1))
    }

    /// Drops a connection that must not be used again, and frees its slot.
    pub(crate) fn discard(&self, connection: Connection) {
        self.idle_list().open -= 1;
        self.returned.notify_one();
        self.drop_connection(connection);
    }

    /// Drops a connection whose slot a new one takes over.
    pub(crate) fn drop_connection(&self, connection: Connection) {
        let mut idle_list = self.idle_list();
        let mut lost = VecDeque::new();
        if connection.is_broken() && !connection.is_evicted() {
            self.lost.notify_one();
            // A restart, a failover or a network failure has mostly broken all idle sessions too.
            // Each of them would cost a caller an error.
            lost = std::mem::take(&mut idle_list.idle);
            idle_list.open -= u32::try_from(lost.len()).unwrap_or_default();
        }
        drop(idle_list);
        // Without a Terminate message: the session may hang, and the database ends it anyway.
        drop((connection, lost));
    }

    pub(crate) fn idle_list(&self) -> MutexGuard<'_, IdleList> {
        self.idle_list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a task in the background. At the program's end there is no runtime to run it; the
/// operating system closes the sockets then.
pub(crate) fn in_background(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(task);
    }
}

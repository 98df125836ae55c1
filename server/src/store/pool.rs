//! The holder of a node's connections: a size, an overflow, and a bounded fair wait.
//!
//! Connections go back here and never to a driver's pool, whose ping at every return costs
//! as much as a small query.

use std::{
    collections::VecDeque,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    connect::Connector,
    connection::{Access, Connection, State},
    control::Control,
    deadline::Deadline,
    error::StoreError,
};
use crate::meters;

/// How long an abandoned statement may take to end once it was told to.
const RECOVERY: Duration = Duration::from_secs(1);

/// How long after a cancellation the statement is told again.
const CANCELLED: Duration = Duration::from_millis(50);

/// How long a connection beyond the size may be idle.
const SURPLUS_IDLE: Duration = Duration::from_secs(10);

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
}

/// The connections of one node, for reading and for writing.
pub(super) struct Pool {
    node: Arc<str>,
    connector: Connector,
    control: Arc<Control>,
    options: PoolOptions,
    /// One permit a connection that is lent; waiting callers stand in line.
    permits: Arc<Semaphore>,
    shelf: Mutex<Shelf>,
}

/// The connections of a pool.
#[derive(Default)]
struct Shelf {
    /// How many there are: lent, idle, or being opened or closed.
    open: u32,
    /// Those that nobody uses. The last one used is at the back and the first to be lent
    /// again: its caches are warm.
    idle: VecDeque<Idle>,
    /// Whether a task looks after those beyond the size.
    sweeping: bool,
}

/// A connection that nobody uses.
struct Idle {
    connection: Connection,
    since: Instant,
}

/// What a caller with a permit finds on the shelf.
enum Found {
    /// A connection with the access that it wants.
    Ready(Connection),
    /// Room to open one.
    Room,
    /// Only one with another access, which has to make room.
    Other(Connection),
}

impl Pool {
    pub(super) fn new(
        node: &str,
        connector: Connector,
        control: Arc<Control>,
        options: PoolOptions,
    ) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(options.most() as usize));
        let (node, shelf) = (node.into(), Mutex::default());
        Arc::new(Self { node, connector, control, options, permits, shelf })
    }

    /// Lends a connection: an idle one, or a new one while there is room for it.
    ///
    /// # Errors
    /// [`StoreError::PoolTimeout`] if none is free in time, [`StoreError::DeadlineExceeded`],
    /// [`StoreError::Unavailable`] if a new one can't be opened.
    pub(super) async fn lend(
        self: &Arc<Self>,
        access: Access,
        deadline: Deadline,
    ) -> Result<Lease, StoreError> {
        let began = Instant::now();
        let patience = deadline.remaining(self.options.timeout);
        let late = |otherwise: StoreError| match deadline.has_passed() {
            true => StoreError::DeadlineExceeded,
            false => otherwise,
        };
        let Ok(permit) = timeout(patience, self.permits.clone().acquire_owned()).await else {
            let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Err(late(StoreError::PoolTimeout { waited_ms }));
        };
        meters::POOL_WAIT.record(began.elapsed().as_secs_f64(), &[]);
        let permit = permit.map_err(|_| StoreError::internal("the pool is closed"))?;
        let found = self.shelf().find(access, self.options.most());
        let lease = |pool, permit, connection| Lease {
            pool,
            permit: Some(permit),
            connection: Some(connection),
        };
        let other = match found {
            Found::Ready(connection) => return Ok(lease(self.clone(), permit, connection)),
            Found::Room => None,
            Found::Other(other) => Some(other),
        };
        let (pool, place) = (self.clone(), Opening(Some(self.clone())));
        // In a task of its own: a caller that leaves or has no time to wait would take the
        // half-opened connection with it, and the next one would have to begin again. What
        // nobody waits for any more goes to the shelf as the lease is dropped.
        let opening = tokio::spawn(async move {
            if let Some(other) = other {
                // The new one takes over its place: but for those that are just being closed,
                // the database never sees more sessions than agreed.
                other.close().await;
            }
            let opened = timeout(pool.options.timeout, pool.connector.open(access)).await;
            let late = || DbErr::Custom("opening a connection took too long".into());
            let connection = opened.map_err(|_| StoreError::Unavailable(late()))??;
            place.done();
            Ok(lease(pool, permit, connection))
        });
        match timeout(deadline.remaining(Duration::MAX), opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(failure)) => Err(StoreError::internal(format!("opening: {failure}"))),
            Err(_) => Err(StoreError::DeadlineExceeded),
        }
    }

    /// Lends nothing any more and closes what isn't lent; lent connections end with their leases.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut self.shelf().idle);
        for idle in idle {
            idle.connection.close().await;
        }
    }

    /// Takes a connection back that is fit for its next use.
    fn put_back(self: &Arc<Self>, connection: Connection) {
        if self.permits.is_closed() {
            return in_background(connection.close());
        }
        let mut shelf = self.shelf();
        shelf.idle.push_back(Idle { connection, since: Instant::now() });
        if shelf.open > self.options.size && !std::mem::replace(&mut shelf.sweeping, true) {
            let pool = self.clone();
            in_background(async move { pool.sweep().await });
        }
    }

    /// Closes the connections beyond the size that nobody has used for a while, until there
    /// are none. Closed as they come back they would be opened again at once, as long as the
    /// load lasts.
    async fn sweep(&self) {
        let mut more = true;
        while more {
            sleep(SURPLUS_IDLE).await;
            let surplus = self.shelf().take_surplus(self.options.size);
            more = self.shelf().sweeping;
            for idle in surplus {
                idle.connection.close().await;
            }
        }
    }

    /// Ends the statement that was abandoned on a connection, and takes the connection back if
    /// it can be used again.
    async fn recover(self: Arc<Self>, connection: Connection) {
        let ended = timeout(RECOVERY, self.end_statement(&connection)).await;
        match ended.unwrap_or_default() && connection.state() == State::Idle {
            true => self.put_back(connection),
            false => self.discard(connection),
        }
    }

    /// Says whether the connection answers again.
    async fn end_statement(&self, connection: &Connection) -> bool {
        loop {
            if let Some(process) = connection.process() {
                self.control.cancel(process).await;
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

    /// Gives a connection up that must not be used again.
    fn discard(&self, connection: Connection) {
        let mut shelf = self.shelf();
        shelf.open -= 1;
        let mut lost = VecDeque::new();
        if connection.is_broken() {
            // What ended this session has mostly ended them all: a restart, a failover, a
            // network. Otherwise each would cost a caller an error.
            lost = std::mem::take(&mut shelf.idle);
            shelf.open -= u32::try_from(lost.len()).unwrap_or_default();
        }
        drop(shelf);
        // Without a goodbye: the sessions may be stuck, and the database ends them anyway.
        drop((connection, lost));
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolOptions {
    pub(super) fn most(&self) -> u32 {
        self.size.saturating_add(self.max_overflow).max(1)
    }
}

impl Shelf {
    /// Whoever holds a permit finds something: fewer connections than permits are lent.
    fn find(&mut self, access: Access, most: u32) -> Found {
        if let Some(at) = self.idle.iter().rposition(|idle| idle.connection.access() == access)
            && let Some(idle) = self.idle.remove(at)
        {
            return Found::Ready(idle.connection);
        }
        if self.open >= most
            && let Some(idle) = self.idle.pop_front()
        {
            return Found::Other(idle.connection);
        }
        self.open += 1;
        Found::Room
    }

    /// Takes out those beyond `size` that have been idle for long.
    fn take_surplus(&mut self, size: u32) -> Vec<Idle> {
        let mut surplus = Vec::new();
        let old = |idle: &Idle| idle.since.elapsed() >= SURPLUS_IDLE;
        while self.open > size && self.idle.front().is_some_and(old) {
            surplus.extend(self.idle.pop_front());
            self.open -= 1;
        }
        self.sweeping = self.open > size;
        surplus
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
            pool.shelf().open -= 1;
        }
    }
}

/// A connection on loan; it goes back when this is dropped.
///
/// One whose statement was abandoned goes back only once that has ended in the database.
pub struct Lease {
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
    connection: Option<Connection>,
}

impl Lease {
    /// The name of the node that the connection leads to.
    pub fn node(&self) -> Arc<str> {
        self.pool.node.clone()
    }
}

impl Deref for Lease {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "only dropping the lease takes the connection")]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a lease holds its connection")
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lease").field("node", &self.node()).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        connection.set_deadline(Deadline::NONE);
        let (pool, permit) = (self.pool.clone(), self.permit.take());
        if connection.is_broken() {
            pool.discard(connection);
        } else if connection.is_in_flight() {
            // What still runs has to end before another one takes this place, or there would
            // be more sessions at work than agreed.
            in_background(async move {
                pool.recover(connection).await;
                drop(permit);
            });
        } else if connection.state() != State::Idle {
            pool.discard(connection);
        } else {
            self.pool.put_back(connection);
        }
    }
}

/// Runs a task that nobody waits for; at the program's end, when there is no runtime left
/// to run it, the operating system closes what is open.
fn in_background(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(task);
    }
}

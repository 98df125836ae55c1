//! The accounts of connections and the sums of all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

use super::stored::Stored;
use crate::meters;

/// What connections may hold, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of requests that come in, and of answers that are not taken, each: one connection.
    pub connection: usize,
    /// Of requests that come in and are carried out: all connections.
    pub received: usize,
    /// Of answers that are not taken: all connections.
    pub answered: usize,
    /// Of what requests are decoded to, estimated: all connections. One may hold half of it.
    pub decoded: usize,
    /// Calls that one connection may have a permit for, streams included.
    pub calls: u32,
    /// Idempotency keys that are stored at the same time. One connection may store a quarter
    /// between two counts.
    pub stored_keys: usize,
    /// Bytes of the answers under them. One connection may store a quarter between two counts.
    pub stored_bytes: usize,
}

/// A connection that holds no more than this may use a reserve beyond the sum, so that small
/// calls are answered while others have used the sum up.
pub(super) const SMALL: usize = 256 * 1024;

/// The part of a sum that is the reserve for connections that hold little.
pub(super) const RESERVE: usize = 8;

/// What a connection takes beside what its account holds, in bytes: its buffers and its state.
pub const CONNECTION: usize = 32 * 1024;

/// What a connection with TLS takes in addition, in bytes: a record (RFC 8446, 5.1) that comes in,
/// its plaintext, a record that goes out, and the state with the client's certificates.
pub const TLS: usize = 64 * 1024;

/// What a call takes beside larger messages, in bytes: its task, its layers, its handler, and as
/// much of each of its request, its rows and its answer as is not charged by itself.
pub const CALL: usize = 16 * 1024;

/// How many calls may wait for room in a sum at the same time, in each of the three.
pub(super) const WAITERS: usize = 128;

/// What a call takes that waits for room with nothing charged yet, in bytes: its task, and in the
/// transport its window ([`crate::listener::STREAM_WINDOW`]) and its metadata.
pub const UNCHARGED: usize = CALL + 64 * 1024 + 32 * 1024;

/// The calls of a connection for which there is room before those that have ended are sorted out.
pub(super) const CALLS_ROOM: usize = 16;

/// How long a connection waits for room in the sum before the one that holds most is ended.
pub(super) const PRESSURE: Duration = Duration::from_millis(300);

/// How long a connection that was ended may take to give back what it holds before another one
/// is ended.
const GIVING_BACK: Duration = Duration::from_secs(1);

/// The budgets of all connections.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    received: Arc<BudgetTotal>,
    answered: Arc<BudgetTotal>,
    decoded: Arc<BudgetTotal>,
    stored: Stored,
    accounts: Mutex<BTreeMap<u64, Weak<Inner>>>,
    next: AtomicU64,
}

/// Which of the two budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetSide {
    /// Requests: their metadata and their bytes.
    Received,
    /// What requests are decoded to.
    Decoded,
    /// Answers that were made and that the peer has not taken.
    Answered,
}

/// What one connection holds. Clones are the same account.
#[derive(Clone, Debug)]
pub struct Account(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) budget: Arc<Budget>,
    number: u64,
    received: AtomicUsize,
    answered: AtomicUsize,
    decoded: AtomicUsize,
    /// What the connection has stored since the last recount.
    stored: Stored,
    /// When an answer's byte was taken last, in milliseconds since `opened`.
    pub(super) taken: AtomicU64,
    opened: Instant,
    /// Since when the connection has to end.
    ended: OnceLock<Instant>,
    end: Notify,
    /// Permits of calls, and of those among them that stream.
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Calls of which something waits for the peer.
    pub(super) waiting: AtomicUsize,
    /// The calls that there are, and some that have ended.
    open_calls: Mutex<Vec<Weak<dyn Waits>>>,
}

/// A call whose answer may wait for its peer.
pub(super) trait Waits: std::fmt::Debug + Send + Sync {
    /// Ends the call if nothing of its answer was taken for `idle`.
    fn end_if_idle(&self, now: u64, idle: Duration);
}

/// The sum of all connections.
#[derive(Debug)]
pub(super) struct BudgetTotal {
    pub(super) limit: usize,
    pub(super) used: AtomicUsize,
    /// How many wait for room.
    pub(super) waiting: AtomicUsize,
    pub(super) freed: Notify,
}

impl Budget {
    /// Budgets in which nothing is used.
    pub fn new(limits: Limits) -> Arc<Self> {
        let total = |limit| {
            let (used, waiting) = Default::default();
            Arc::new(BudgetTotal { limit, used, waiting, freed: Notify::new() })
        };
        Arc::new(Self {
            limits,
            received: total(limits.received),
            answered: total(limits.answered),
            decoded: total(limits.decoded),
            stored: Stored::default(),
            accounts: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// Registers the gauges of the used bytes.
    pub fn observe(self: &Arc<Self>) {
        for (gauge, side) in [
            (&meters::BYTES_RECEIVED, BudgetSide::Received),
            (&meters::BYTES_DECODED, BudgetSide::Decoded),
            (&meters::BYTES_ANSWERED, BudgetSide::Answered),
        ] {
            let budget = Arc::downgrade(self);
            gauge.observe(move |gauge| {
                let used = budget.upgrade().map_or(0, |budget| budget.used(side));
                #[expect(clippy::cast_precision_loss, reason = "a measurement")]
                gauge.observe(used as f64, &[]);
            });
        }
    }

    /// The account of a new connection.
    pub fn open(self: &Arc<Self>) -> Account {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let account = Account(Arc::new(Inner {
            budget: self.clone(),
            number,
            received: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            decoded: AtomicUsize::new(0),
            stored: Stored::default(),
            taken: AtomicU64::new(0),
            opened: Instant::now(),
            ended: OnceLock::new(),
            end: Notify::new(),
            calls: Arc::new(Semaphore::new(self.limits.calls as usize)),
            streams: Arc::new(Semaphore::new((self.limits.calls as usize).div_ceil(2))),
            waiting: AtomicUsize::new(0),
            open_calls: Mutex::default(),
        }));
        self.accounts().insert(number, Arc::downgrade(&account.0));
        account
    }

    /// The most that all connections may hold, in bytes: with the reserves, and with the calls that
    /// wait for room to be received. Those that wait for other room are charged already.
    pub fn most(&self) -> usize {
        let totals = [&self.received, &self.decoded, &self.answered];
        let charged: usize = totals.map(|total| total.limit + total.limit / RESERVE).iter().sum();
        charged + WAITERS * UNCHARGED
    }

    /// Says how much is stored under idempotency keys in fact. What each connection may store is
    /// counted from here on.
    pub fn set_stored(&self, keys: u64, bytes: u64) {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX / 2);
        self.stored.set(count(keys), count(bytes));
        // Collected first: the last clone of an account takes the lock.
        let open: Vec<_> = self.accounts().values().filter_map(Weak::upgrade).collect();
        open.iter().for_each(|inner| inner.stored.set(0, 0));
    }

    /// How many bytes all connections hold.
    pub fn used(&self, side: BudgetSide) -> usize {
        self.total(side).used.load(Ordering::Relaxed)
    }

    pub(super) fn total(&self, side: BudgetSide) -> &BudgetTotal {
        match side {
            BudgetSide::Received => &self.received,
            BudgetSide::Answered => &self.answered,
            BudgetSide::Decoded => &self.decoded,
        }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Inner>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection that holds most, so that the others are answered. One at a time, and
    /// none that holds little: its end would help nobody else.
    pub(super) fn relieve(&self, side: BudgetSide) {
        let held = |inner: &Inner| inner.used(side).load(Ordering::Relaxed);
        let gives_back = |inner: &Inner| {
            let ended = inner.ended.get().is_some_and(|since| since.elapsed() < GIVING_BACK);
            ended && held(inner) > SMALL
        };
        // Locked throughout: those who wait come here at the same time.
        let accounts = self.accounts();
        let open: Vec<Arc<Inner>> = accounts.values().filter_map(Weak::upgrade).collect();
        let running = open.iter().filter(|inner| inner.ended.get().is_none());
        let most = running.map(|inner| (held(inner), inner)).max_by_key(|(bytes, _)| *bytes);
        let most = most.filter(|(bytes, _)| *bytes > SMALL);
        let ends = most.filter(|_| !open.iter().any(|inner| gives_back(inner)));
        if let Some((_, inner)) = ends {
            inner.end();
        }
        // The last clone of an account takes the lock.
        drop(accounts);
        if let Some((bytes, _)) = ends {
            tracing::warn!(
                ?side,
                bytes,
                "the budget of all is used up: the connection that holds most is ended"
            );
            meters::CONNECTIONS_ENDED.add(1, &[]);
        }
    }
}

impl Inner {
    pub(super) fn used(&self, side: BudgetSide) -> &AtomicUsize {
        match side {
            BudgetSide::Received => &self.received,
            BudgetSide::Answered => &self.answered,
            BudgetSide::Decoded => &self.decoded,
        }
    }

    pub(super) fn open_calls(&self) -> MutexGuard<'_, Vec<Weak<dyn Waits>>> {
        self.open_calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.ended.get_or_init(Instant::now);
        self.end.notify_one();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.budget.accounts().remove(&self.number);
    }
}

impl Account {
    /// The account of work of the service's own, which no peer asks for.
    pub fn unbounded() -> Self {
        let most = usize::MAX / 4;
        let limits = Limits {
            connection: most,
            received: most,
            answered: most,
            decoded: most,
            calls: 1,
            stored_keys: most,
            stored_bytes: most,
        };
        Budget::new(limits).open()
    }

    /// How many bytes the connection holds.
    pub fn used(&self, side: BudgetSide) -> usize {
        self.0.used(side).load(Ordering::Relaxed)
    }

    /// How many bytes the connection may hold.
    pub fn limit(&self, side: BudgetSide) -> usize {
        let limits = &self.0.budget.limits;
        match side {
            BudgetSide::Received | BudgetSide::Answered => limits.connection,
            BudgetSide::Decoded => limits.decoded / 2,
        }
    }

    /// What connections may hold.
    pub fn limits(&self) -> &Limits {
        &self.0.budget.limits
    }

    /// The permits of the connection's calls.
    pub fn calls(&self) -> &Arc<Semaphore> {
        &self.0.calls
    }

    /// The permits of the connection's calls that stream: half of all.
    pub fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    /// Waits until the connection has to end, because it holds most while all is used up or has
    /// taken nothing of its answers for `idle`. Meanwhile it ends the calls whose answers are not
    /// taken for so long.
    pub async fn ended(&self, idle: Duration) {
        let inner = &self.0;
        let step = (idle / 8).max(Duration::from_millis(10));
        loop {
            let ended = timeout(step, inner.end.notified()).await.is_ok();
            if ended || inner.ended.get().is_some() {
                return;
            }
            let now = self.now();
            let calls: Vec<_> = inner.open_calls().iter().filter_map(Weak::upgrade).collect();
            for call in calls {
                call.end_if_idle(now, idle);
            }
            // The time counts from the last byte that was taken, or from when there was
            // something to take.
            if inner.waiting.load(Ordering::Relaxed) == 0 {
                inner.taken.store(now, Ordering::Relaxed);
            } else if now.saturating_sub(inner.taken.load(Ordering::Relaxed)) >= millis(idle) {
                tracing::debug!("a connection that took nothing of its answers is ended");
                meters::CONNECTIONS_ENDED.add(1, &[]);
                return;
            }
        }
    }

    /// Counts an answer that is about to be stored under a key.
    pub(super) fn store(&self, bytes: usize) -> bool {
        let Limits { stored_keys, stored_bytes, .. } = self.0.budget.limits;
        let own = self.0.stored.grow(bytes, stored_keys.div_ceil(4), stored_bytes / 4);
        let all = own && self.0.budget.stored.grow(bytes, stored_keys, stored_bytes);
        if own && !all {
            self.0.stored.give_back(bytes);
        }
        all
    }

    pub(super) fn now(&self) -> u64 {
        millis(self.0.opened.elapsed())
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! What one call holds of its connection's budget, and whether its peer takes the answer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bookstore_store::Meter;
use futures_util::task::AtomicWaker;

use super::{
    account::{Account, BudgetSide, CALLS_ROOM, Waits, millis},
    held::Held,
};

/// The size up to which a request, rows and an answer are part of [`CALL`](super::account::CALL)
/// and not charged by themselves, in bytes.
pub const INCLUDED: usize = 2 * 1024;

/// A call of a connection: its memory, from its first byte to the last one of its answer.
#[derive(Debug)]
pub struct CallBudget {
    account: Account,
    request: Mutex<Held>,
    rows: Mutex<RowCharge>,
    /// Pieces that the transport has and the peer has not, and the body if it has more.
    waiting: AtomicU32,
    /// When the peer took a byte last, or the first piece came: in milliseconds since the account was opened.
    taken: AtomicU64,
    ended: AtomicBool,
    waker: AtomicWaker,
    /// The bytes of rows that no connection may hold; 0 if there were none.
    excess: AtomicUsize,
}

/// The memory of the rows that a call has read, until its answer is encoded.
#[derive(Debug)]
struct RowCharge {
    used: usize,
    held: Held,
}

impl CallBudget {
    fn new(account: &Account) -> Self {
        Self {
            account: account.clone(),
            request: Mutex::new(account.nothing(BudgetSide::Received)),
            rows: Mutex::new(RowCharge { used: 0, held: account.nothing(BudgetSide::Answered) }),
            waiting: AtomicU32::new(0),
            taken: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            excess: AtomicUsize::new(0),
        }
    }

    /// The account of the call's connection.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The bytes of the call's rows, if they were more than its connection may ever hold: to wait
    /// for room is of no use.
    pub fn excess(&self) -> Option<usize> {
        Some(self.excess.load(Ordering::Relaxed)).filter(|excess| *excess > 0)
    }

    /// Holds what the call's request takes until the call has ended.
    pub fn hold(&self, held: Held) {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Charges a frame of the answer; none where the call's own charge includes it.
    pub(crate) fn charge_frame(&self, bytes: usize) -> Option<Held> {
        // The body itself counts as one.
        let is_alone = self.waiting.load(Ordering::Relaxed) <= 1;
        let is_included = is_alone && bytes <= INCLUDED;
        (!is_included).then(|| self.account.take_anyway(BudgetSide::Answered, bytes))
    }

    /// Something of the answer waits for the peer.
    pub(crate) fn begin_wait(&self) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.account.0.waiting.fetch_add(1, Ordering::Relaxed);
            self.taken.store(self.account.now(), Ordering::Relaxed);
        }
    }

    /// The peer has taken some bytes of it.
    pub(crate) fn note_taken(&self) {
        let now = self.account.now();
        self.taken.store(now, Ordering::Relaxed);
        self.account.0.taken.store(now, Ordering::Relaxed);
    }

    /// The transport is done with a piece, or the body with what it had.
    pub(crate) fn end_wait(&self) {
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.account.0.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ready once the call has to end, because nothing of its answer is taken.
    pub(crate) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        match self.ended.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn rows(&self) -> MutexGuard<'_, RowCharge> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits for CallBudget {
    fn end_if_idle(&self, now: u64, idle: Duration) {
        let waits = self.waiting.load(Ordering::Relaxed) > 0;
        if waits && now.saturating_sub(self.taken.load(Ordering::Relaxed)) >= millis(idle) {
            self.ended.store(true, Ordering::Release);
            self.waker.wake();
        }
    }
}

impl Meter for CallBudget {
    fn grow(&self, bytes: usize) -> bool {
        let mut rows = self.rows();
        let used = rows.used + bytes;
        let more = used.saturating_sub(INCLUDED).saturating_sub(rows.held.bytes());
        if used > self.account.limit(BudgetSide::Answered) {
            self.excess.store(used, Ordering::Relaxed);
        }
        if more > 0 && !rows.held.try_grow(more) {
            return false;
        }
        rows.used = used;
        true
    }

    fn reset(&self) {
        let mut rows = self.rows();
        rows.used = 0;
        self.excess.store(0, Ordering::Relaxed);
        rows.held.set(0);
    }

    fn store(&self, bytes: usize) -> bool {
        self.account.store(bytes)
    }
}

impl Account {
    /// Begins a call, whose memory is charged to this account.
    pub fn begin_call(&self) -> Arc<CallBudget> {
        let call = Arc::new(CallBudget::new(self));
        let mut calls = self.0.open_calls();
        if calls.len() == calls.capacity() {
            calls.retain(|call| call.strong_count() > 0);
            // Half is left free, so that this is seldom done.
            let room = calls.len() + CALLS_ROOM;
            calls.reserve(room);
        }
        let weak = Arc::downgrade(&call);
        calls.push(weak);
        drop(calls);
        call
    }
}

/// A call of the service's own, which no peer asks for: it holds as much as it needs.
pub fn unbounded() -> Arc<CallBudget> {
    Account::unbounded().begin_call()
}

//! Bytes that an account holds: how they grow, shrink and are given back.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::timeout_at;

use super::account::{Account, BudgetSide, PRESSURE, RESERVE, SMALL, WAITERS};

/// Bytes that an account holds until this is dropped.
#[derive(Debug)]
pub struct Held {
    account: Account,
    side: BudgetSide,
    bytes: usize,
}

impl Account {
    /// Takes bytes if there is room for them.
    pub fn try_take(&self, side: BudgetSide, bytes: usize) -> Option<Held> {
        let mut held = self.nothing(side);
        held.try_grow(bytes).then_some(held)
    }

    /// Takes bytes that are there already, whether or not there is room.
    pub fn take_anyway(&self, side: BudgetSide, bytes: usize) -> Held {
        let mut held = self.nothing(side);
        held.add(bytes);
        held
    }

    /// Waits for room.
    pub async fn take(&self, side: BudgetSide, bytes: usize, within: Duration) -> Option<Held> {
        let mut held = self.nothing(side);
        held.grow(bytes, within).await.then_some(held)
    }

    /// Holds nothing yet.
    pub fn nothing(&self, side: BudgetSide) -> Held {
        Held { account: self.clone(), side, bytes: 0 }
    }

    /// Waits until the connection may hold one more byte of answers.
    pub async fn has_room(&self, within: Duration) -> bool {
        let total = self.0.budget.total(BudgetSide::Answered);
        let own = self.used(BudgetSide::Answered) < self.limit(BudgetSide::Answered);
        if own && total.used.load(Ordering::Relaxed) < total.limit {
            return true;
        }
        // The answer's own bytes are charged once they are known.
        self.take(BudgetSide::Answered, 1, within).await.is_some()
    }
}

impl Held {
    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more bytes if there is room for them.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let inner = &self.account.0;
        let used = inner.used(self.side);
        let own =
            |used: usize| Some(used + bytes).filter(|used| *used <= self.account.limit(self.side));
        let Ok(before) = used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, own) else {
            return false;
        };
        let total = inner.budget.total(self.side);
        let reserve = if before + bytes <= SMALL { total.limit / RESERVE } else { 0 };
        let all = |used: usize| Some(used + bytes).filter(|used| *used <= total.limit + reserve);
        if total.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, all).is_err() {
            used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Waits for room for more bytes. Where the sum is used up for long, the connection that
    /// holds most of it is ended, and after a while the next one. If 128 wait already,
    /// nothing more waits.
    pub async fn grow(&mut self, bytes: usize, within: Duration) -> bool {
        if self.try_grow(bytes) {
            return true;
        }
        if bytes > self.account.limit(self.side) {
            return false;
        }
        let inner = self.account.0.clone();
        let total = inner.budget.total(self.side);
        let pause = PRESSURE.min(within / 2);
        let begun = tokio::time::Instant::now();
        let (mut pressure, end) = (begun + pause, begun + within);
        let Some(_waiting) = RoomWaiter::begin(&total.waiting) else {
            // Those that wait may wait for room in their own connections and end no other.
            if self.fits_own(bytes) {
                inner.budget.relieve(self.side);
            }
            return false;
        };
        loop {
            let mut freed = pin!(total.freed.notified());
            // Registered before the next try, so that nothing is missed between the two.
            freed.as_mut().enable();
            if self.try_grow(bytes) {
                return true;
            }
            if timeout_at(pressure.min(end), freed).await.is_err() {
                let now = tokio::time::Instant::now();
                if now >= end {
                    return false;
                }
                pressure = now + pause;
                if self.fits_own(bytes) {
                    inner.budget.relieve(self.side);
                }
            }
        }
    }

    /// Whether the connection's own limit has room for more bytes.
    fn fits_own(&self, bytes: usize) -> bool {
        self.account.used(self.side) + bytes <= self.account.limit(self.side)
    }

    /// Takes bytes that are there already.
    pub fn add(&mut self, bytes: usize) {
        let inner = &self.account.0;
        inner.used(self.side).fetch_add(bytes, Ordering::Relaxed);
        inner.budget.total(self.side).used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Gives some of the bytes back.
    pub fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        let inner = &self.account.0;
        let total = inner.budget.total(self.side);
        inner.used(self.side).fetch_sub(bytes, Ordering::SeqCst);
        total.used.fetch_sub(bytes, Ordering::SeqCst);
        // One total order with what a waiter does: it counts itself, then tries once more.
        if total.waiting.load(Ordering::SeqCst) > 0 {
            total.freed.notify_waiters();
        }
    }

    /// Holds exactly this many from now on, whether or not there is room.
    pub fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.add(more),
            None => self.give_back(self.bytes - bytes),
        }
    }

    /// A part of the bytes, to be held elsewhere.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { account: self.account.clone(), side: self.side, bytes }
    }

    /// The account that holds them.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

/// One who waits for room, until this is dropped.
struct RoomWaiter<'a>(&'a AtomicUsize);

impl<'a> RoomWaiter<'a> {
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let free = |waiting| (waiting < WAITERS).then_some(waiting + 1);
        let taken = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free);
        taken.ok().map(|_| Self(count))
    }
}

impl Drop for RoomWaiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

//! The idle connections of a pool, and the count of all.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    pool::PoolOptions,
    session::connection::{Access, Connection},
};

/// How long a connection beyond the size may be idle.
pub(crate) const SURPLUS_IDLE: Duration = Duration::from_secs(10);

/// After how long an idle connection is tried before it is checked out.
const PING_AFTER: Duration = Duration::from_secs(10);

/// The connections of a pool.
#[derive(Default)]
pub(crate) struct IdleList {
    /// How many there are: checked out, idle, or being opened or closed.
    pub(crate) open: u32,
    /// Idle ones. The last one used is at the back and the first to be checked out
    /// again: its caches are warm.
    pub(crate) idle: VecDeque<Idle>,
    /// Whether a task looks after those beyond the size.
    pub(crate) sweeping: bool,
}

/// An idle connection.
pub(crate) struct Idle {
    pub(crate) connection: Connection,
    pub(crate) since: Instant,
}

/// What a caller with a permit finds in the idle list.
pub(crate) enum Checkout {
    /// A connection with the access that it wants.
    Ready(Connection),
    /// One that was idle for so long that it may have ended.
    NeedsPing(Connection),
    /// Room to open one.
    Room,
    /// One that has to make room: too old, or with another access.
    Replace(Connection),
}

impl IdleList {
    /// A caller with a permit always finds something: no more connections are checked out than
    /// there are permits.
    pub(crate) fn find(&mut self, access: Access, options: &PoolOptions) -> Checkout {
        if let Some(at) = self.idle.iter().rposition(|idle| idle.connection.access() == access)
            && let Some(idle) = self.idle.remove(at)
        {
            return match idle.connection {
                old if old.is_old() => Checkout::Replace(old),
                silent if options.pre_ping && idle.since.elapsed() >= PING_AFTER => {
                    Checkout::NeedsPing(silent)
                }
                ready => Checkout::Ready(ready),
            };
        }
        if self.open >= options.most()
            && let Some(idle) = self.idle.pop_front()
        {
            return Checkout::Replace(idle.connection);
        }
        self.open += 1;
        Checkout::Room
    }

    /// Takes out those beyond `size` that have been idle for long.
    pub(crate) fn take_surplus(&mut self, size: u32) -> Vec<Idle> {
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

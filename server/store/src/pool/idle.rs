//! The idle connections of a pool, and the number of all.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    pool::options::PoolOptions,
    session::{
        connection::{Connection, driver::Access},
        limit::OpeningLimit,
    },
};

/// The idle time after which the pool closes a connection beyond its size.
pub(crate) const SURPLUS_IDLE: Duration = Duration::from_secs(10);

/// The idle time after which the pool pings a connection before it checks it out.
const PING_AFTER: Duration = Duration::from_secs(10);

/// The idle connections of a pool.
#[derive(Default)]
pub(crate) struct IdleList {
    /// The number of all connections: checked out, idle, being opened or being closed.
    pub(crate) open: u32,
    /// The number of those that are being opened or pinged.
    pub(crate) opening: u32,
    /// The idle connections. The one used last is at the back. It is checked out first, since its
    /// caches are warm.
    pub(crate) idle: VecDeque<Idle>,
    /// Whether a task closes the connections beyond the size.
    pub(crate) sweeping: bool,
    /// What is known of the server's limit of connections.
    pub(crate) limit: OpeningLimit,
}

/// An idle connection.
pub(crate) struct Idle {
    pub(crate) connection: Connection,
    pub(crate) since: Instant,
}

/// What a caller with a permit gets from the idle list.
pub(crate) enum Candidate {
    /// A connection with the right access.
    Ready(Connection),
    /// A connection that was idle for so long that it must be pinged.
    NeedsPing(Connection),
    /// A free slot for a new connection.
    OpenNew,
    /// A connection to close first, since it is too old.
    Replace(Connection),
    /// A connection with the other access, where no more may be opened now.
    Switch(Connection),
    /// Nothing: a connection may return, and after this time an opening may be tried.
    Wait(Duration),
}

impl IdleList {
    /// Finds a connection or a slot. A caller with a permit always gets one, since there are as
    /// many permits as slots, unless the server takes fewer connections than the pool has slots.
    /// `prompt` is of a caller that has begun an opening: whether that may still end promptly.
    pub(crate) fn find(
        &mut self,
        access: Access,
        options: &PoolOptions,
        prompt: Option<bool>,
    ) -> Candidate {
        let now = Instant::now();
        let may_open = prompt.is_none();
        if let Some(at) = self.idle.iter().rposition(|idle| idle.connection.access() == access)
            && let Some(idle) = self.idle.remove(at)
        {
            return match idle.connection {
                // An old one is better than none.
                old if old.is_old() && may_open && self.limit.allows(now) => {
                    Candidate::Replace(old)
                }
                silent if options.pre_ping && idle.since.elapsed() >= PING_AFTER => {
                    Candidate::NeedsPing(silent)
                }
                ready => {
                    ready.note_idle(idle.since.elapsed());
                    Candidate::Ready(ready)
                }
            };
        }
        if may_open && self.open < options.most() && self.limit.allows(now) {
            self.open += 1;
            return Candidate::OpenNew;
        }
        if prompt != Some(true)
            && let Some(idle) = self.idle.pop_front()
        {
            return Candidate::Switch(idle.connection);
        }
        Candidate::Wait(self.limit.next(now))
    }

    /// Removes the connections beyond `size` that were idle for 10 s.
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

//! The connections to the operators' port: few by peer and in all, so that a probe always finds
//! room. The oldest makes room for a new one, those that are idle first.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

/// Connections of one peer at a time.
const BY_PEER: usize = 4;

/// Connections at a time: probes and collectors are few.
const IN_ALL: usize = 64;

/// How often a connection is asked whether it is idle.
const STEP: Duration = Duration::from_secs(1);

/// The open connections. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Vec<Arc<AdminConnection>>>>);

/// One of them.
#[derive(Debug)]
struct AdminConnection {
    peer: IpAddr,
    /// Requests that are being answered.
    busy: AtomicU32,
    /// When the last one was answered, or the connection opened.
    active: Mutex<Instant>,
    end: Notify,
}

/// A connection's slot, until it is dropped.
#[derive(Debug)]
pub(super) struct AdminSlot {
    all: Connections,
    connection: Arc<AdminConnection>,
}

impl Connections {
    /// A slot for a new connection of a peer. Where the peer has too many, its oldest idle one is
    /// ended, or its oldest where none is idle; likewise where there are too many in all. So
    /// requests that come slowly keep no probe out.
    pub(super) fn admit(&self, peer: IpAddr) -> AdminSlot {
        let mut open = self.open();
        let by_peer = open.iter().filter(|it| it.peer == peer).count();
        let ends = if by_peer >= BY_PEER {
            oldest(&open, |it| it.peer == peer)
        } else if open.len() >= IN_ALL {
            oldest(&open, |_| true)
        } else {
            None
        };
        if let Some(oldest) = ends {
            open.remove(oldest).end.notify_one();
        }
        let connection = Arc::new(AdminConnection {
            peer,
            busy: AtomicU32::new(0),
            active: Mutex::new(Instant::now()),
            end: Notify::new(),
        });
        open.push(connection.clone());
        drop(open);
        AdminSlot { all: self.clone(), connection }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<AdminConnection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest idle one of some connections, or the oldest of them.
fn oldest(
    open: &[Arc<AdminConnection>],
    is_one: impl Fn(&AdminConnection) -> bool,
) -> Option<usize> {
    let idle = open.iter().position(|it| is_one(it) && it.is_idle());
    idle.or_else(|| open.iter().position(|it| is_one(it)))
}

impl AdminConnection {
    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }

    fn active(&self) -> MutexGuard<'_, Instant> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdminSlot {
    /// A request is being answered until this is dropped.
    pub(super) fn answering(&self) -> Answering {
        self.connection.busy.fetch_add(1, Ordering::Relaxed);
        Answering(self.connection.clone())
    }

    /// Waits until the connection has to make room or has been idle for so long.
    pub(super) async fn ended(&self, idle: Duration) {
        while timeout(STEP.min(idle), self.connection.end.notified()).await.is_err() {
            if self.connection.is_idle() && self.connection.active().elapsed() >= idle {
                return;
            }
        }
    }
}

impl Drop for AdminSlot {
    fn drop(&mut self) {
        self.all.open().retain(|it| !Arc::ptr_eq(it, &self.connection));
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering(Arc<AdminConnection>);

impl Drop for Answering {
    fn drop(&mut self) {
        *self.0.active() = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_idle_ones_first() {
        let (all, peer) = (Connections::default(), IpAddr::from([127, 0, 0, 1]));
        let slots: Vec<AdminSlot> = (0..BY_PEER).map(|_| all.admit(peer)).collect();
        let busy = slots[0].answering();
        let fifth = all.admit(peer);
        let idle = Duration::from_secs(60);
        assert!(slots[1].ended(idle).now_or_never().is_some(), "the oldest that is idle");
        assert!(slots[0].ended(idle).now_or_never().is_none(), "it is being answered");
        assert!(slots[2].ended(idle).now_or_never().is_none());
        let all_busy = [slots[2].answering(), slots[3].answering(), fifth.answering()];
        let other = all.admit(IpAddr::from([127, 0, 0, 2]));
        assert!(slots[0].ended(idle).now_or_never().is_none(), "another peer has its own");
        let sixth = all.admit(peer);
        assert!(slots[0].ended(idle).now_or_never().is_some(), "the oldest, though it is busy");
        let others = [&slots[2], &slots[3], &fifth, &sixth];
        assert!(others.iter().all(|it| it.ended(idle).now_or_never().is_none()));
        drop((busy, all_busy, slots, fifth, sixth, other));
        assert!(all.open().is_empty());
    }

    #[tokio::test]
    async fn peers_together_are_bounded() {
        let all = Connections::default();
        let peer = |number: usize| IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]);
        let slots: Vec<AdminSlot> =
            (0..IN_ALL).map(|number| all.admit(peer(number / BY_PEER))).collect();
        let _next = all.admit(peer(200));
        assert!(slots[0].ended(Duration::from_secs(60)).now_or_never().is_some());
        assert_eq!(all.open().len(), IN_ALL);
    }

    #[tokio::test]
    async fn an_idle_one_is_ended() {
        let all = Connections::default();
        let slot = all.admit(IpAddr::from([127, 0, 0, 1]));
        let idle = Duration::from_millis(20);
        timeout(Duration::from_secs(5), slot.ended(idle)).await.expect("an end");
        let _answering = slot.answering();
        assert!(timeout(idle * 5, slot.ended(idle)).await.is_err(), "it is being answered");
    }
}

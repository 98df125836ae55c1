//! The limit on calls in flight: a call gets a permit, waits for one, or is refused.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{budget::Account, meters};

/// The longest that a call waits for its permit. A caller that is asked to try again later is better
/// off than one that waits for a queue which doesn't get shorter.
pub const WAIT: Duration = Duration::from_secs(1);

/// The calls in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Load(Arc<LoadState>);

#[derive(Debug)]
struct LoadState {
    most: u32,
    most_waiting: u32,
    permits: Arc<Semaphore>,
    /// Half of the permits: the other half is left for calls that don't stream.
    streams: Arc<Semaphore>,
    waiting: AtomicU32,
    number: AtomicU64,
    /// By the order in which they began: the oldest is the first.
    running: Mutex<BTreeMap<u64, Running>>,
}

/// A call that is carried out.
#[derive(Clone, Debug)]
pub struct Running {
    /// The method, as in `/bookstore.v1.BookService/GetBook`.
    pub method: &'static str,
    /// Finds the call in the log.
    pub request_id: Arc<str>,
    /// Since when it has its permit.
    pub since: Instant,
}

/// Whether a call answers once or goes on: a stream holds its permit for as long as its peer
/// likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// One request, one answer.
    Unary,
    /// Several of either.
    Stream,
}

impl Load {
    /// Up to `most` calls at the same time, of which half may stream, and `most_waiting` that
    /// wait for their permits.
    pub fn new(most: u32, most_waiting: u32) -> Self {
        let load = Self(Arc::new(LoadState {
            most,
            most_waiting,
            permits: Arc::new(Semaphore::new(most as usize)),
            streams: Arc::new(Semaphore::new((most as usize).div_ceil(2))),
            waiting: AtomicU32::new(0),
            number: AtomicU64::new(0),
            running: Mutex::default(),
        }));
        let observed = Arc::downgrade(&load.0);
        meters::CALLS_IN_FLIGHT.observe(move |gauge| {
            let running = observed.upgrade().map_or(0, |inner| inner.running().len());
            gauge.observe(u32::try_from(running).unwrap_or(u32::MAX).into(), &[]);
        });
        load
    }

    /// Waits for a call's permit; none if the service or the call's connection has too much to
    /// do. The call is in flight until what this answers is dropped.
    pub async fn permit(
        &self,
        account: &Account,
        kind: CallKind,
        method: &'static str,
        request_id: &Arc<str>,
    ) -> Option<Permit> {
        let Some(permits) = self.permits(account, kind).await else {
            meters::CALLS_SHED.add(1, &[]);
            return None;
        };
        let number = self.0.number.fetch_add(1, Ordering::Relaxed);
        let running = Running { method, request_id: request_id.clone(), since: Instant::now() };
        self.0.running().insert(number, running);
        Some(Permit { load: self.clone(), number, _permits: permits })
    }

    async fn permits(&self, account: &Account, kind: CallKind) -> Option<Permits> {
        let sources = match kind {
            CallKind::Unary => [None, Some(account.calls()), None, Some(&self.0.permits)],
            CallKind::Stream => [
                Some(account.streams()),
                Some(account.calls()),
                Some(&self.0.streams),
                Some(&self.0.permits),
            ],
        };
        let now = |source: &Arc<Semaphore>| source.clone().try_acquire_owned().ok();
        let mut taken: Permits = [None, None, None, None];
        let mut all = true;
        for (slot, source) in taken.iter_mut().zip(sources) {
            if let Some(source) = source {
                *slot = now(source);
                all = slot.is_some();
                if !all {
                    break;
                }
            }
        }
        if all {
            return Some(taken);
        }
        // What was taken would keep others waiting.
        drop(taken);
        let _slot = QueueSlot::take(&self.0)?;
        let wait = async {
            let mut taken: Permits = [None, None, None, None];
            for (slot, source) in taken.iter_mut().zip(sources) {
                if let Some(source) = source {
                    *slot = source.clone().acquire_owned().await.ok();
                }
            }
            taken
        };
        timeout(WAIT, wait).await.ok()
    }

    /// How many calls may be carried out, and may wait.
    pub fn limits(&self) -> (u32, u32) {
        (self.0.most, self.0.most_waiting)
    }

    /// How many calls wait for their permits.
    pub fn waiting(&self) -> u32 {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// How many calls are carried out.
    pub fn in_flight(&self) -> usize {
        self.0.running().len()
    }

    /// Some of the calls that are carried out, the oldest first.
    pub fn oldest(&self, count: usize) -> Vec<Running> {
        self.0.running().values().take(count).cloned().collect()
    }
}

impl LoadState {
    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot of the queue.
struct QueueSlot<'a>(&'a AtomicU32);

impl<'a> QueueSlot<'a> {
    fn take(inner: &'a LoadState) -> Option<Self> {
        let free = |waiting| (waiting < inner.most_waiting).then(|| waiting + 1);
        let taken = inner.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        // Made only where a slot was taken, since its drop frees one.
        taken.ok().map(|_| Self(&inner.waiting))
    }
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The permits of a call's connection and of the service, for streams and for all calls.
type Permits = [Option<OwnedSemaphorePermit>; 4];

/// The permit of a call, which ends when this is dropped.
#[derive(Debug)]
pub struct Permit {
    load: Load,
    number: u64,
    _permits: Permits,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.load.0.running().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::budget::{Budget, Limits};

    /// An account of a connection that may have so many calls.
    fn account(calls: u32) -> Account {
        let (connection, received, answered, decoded) = (1, 1, 1, 1);
        let (stored_keys, stored_bytes) = (1, 1);
        let limits =
            Limits { connection, received, answered, decoded, calls, stored_keys, stored_bytes };
        Budget::new(limits).open()
    }

    #[tokio::test]
    async fn calls_wait_for_a_moment_and_only_so_many() {
        let (load, id, account) = (Load::new(1, 1), "r-1".into(), account(9));
        let permit = |method| load.permit(&account, CallKind::Unary, method, &id);
        let first = permit("/first").await.unwrap();
        let mut second = Box::pin(permit("/second"));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!((load.in_flight(), load.waiting()), (1, 1));
        // There is one slot only.
        assert!(permit("/third").now_or_never().unwrap().is_none());
        drop(first);
        let second = second.await.unwrap();
        assert_eq!((load.oldest(9)[0].method, load.waiting()), ("/second", 0));
        let began = Instant::now();
        assert!(permit("/late").await.is_none());
        assert!(began.elapsed() >= WAIT);
        // A call that leaves while it waits gives its slot up.
        drop(permit("/left").now_or_never());
        assert_eq!((load.in_flight(), load.waiting()), (1, 0));
        drop(second);
        assert_eq!(load.in_flight(), 0);
        assert!(permit("/next").now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn a_connection_has_its_share_and_streams_have_half() {
        let (load, id) = (Load::new(8, 0), "r-1".into());
        let (one, other) = (account(2), account(9));
        let take = |account, kind| load.permit(account, kind, "/m", &id).now_or_never().unwrap();
        let held = [take(&one, CallKind::Unary), take(&one, CallKind::Unary)];
        assert!(held.iter().all(Option::is_some));
        assert!(take(&one, CallKind::Unary).is_none(), "its share is two");
        drop(held);
        let stream = take(&one, CallKind::Stream);
        assert!(stream.is_some());
        assert!(take(&one, CallKind::Stream).is_none(), "half of its share");
        assert!(take(&one, CallKind::Unary).is_some());
        let streams: Vec<_> = (0..3).map(|_| take(&other, CallKind::Stream)).collect();
        assert!(streams.iter().all(Option::is_some));
        assert!(take(&other, CallKind::Stream).is_none(), "half of all permits");
        let rest: Vec<_> = (0..4).map(|_| take(&other, CallKind::Unary)).collect();
        assert!(rest.iter().all(Option::is_some), "the other half is for calls that don't stream");
    }
}

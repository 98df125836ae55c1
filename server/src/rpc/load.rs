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

use crate::meters;

/// The longest that a call waits for its permit. Beyond it a refusal with a retry delay serves the
/// caller better than a longer queue.
const WAIT: Duration = Duration::from_secs(1);

/// The calls in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Load(Arc<LoadState>);

#[derive(Debug)]
struct LoadState {
    most: u32,
    most_waiting: u32,
    permits: Arc<Semaphore>,
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

impl Load {
    /// Up to `most` calls at the same time, and `most_waiting` that wait for their permits.
    pub fn new(most: u32, most_waiting: u32) -> Self {
        let load = Self(Arc::new(LoadState {
            most,
            most_waiting,
            permits: Arc::new(Semaphore::new(most as usize)),
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

    /// Waits for a call's permit; none if the service is overloaded. The call is in flight until
    /// the permit is dropped.
    pub async fn acquire(&self, method: &'static str, request_id: &Arc<str>) -> Option<Permit> {
        let Some(permit) = self.wait_for_permit().await else {
            meters::CALLS_SHED.add(1, &[]);
            return None;
        };
        let number = self.0.number.fetch_add(1, Ordering::Relaxed);
        let running = Running { method, request_id: request_id.clone(), since: Instant::now() };
        self.0.running().insert(number, running);
        Some(Permit { load: self.clone(), number, _permit: permit })
    }

    async fn wait_for_permit(&self) -> Option<OwnedSemaphorePermit> {
        let permits = &self.0.permits;
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Some(permit);
        }
        let _slot = QueueSlot::take(&self.0)?;
        timeout(WAIT, permits.clone().acquire_owned()).await.ok()?.ok()
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

/// The permit of a call, which ends when this is dropped.
#[derive(Debug)]
pub struct Permit {
    load: Load,
    number: u64,
    _permit: OwnedSemaphorePermit,
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

    #[tokio::test]
    async fn waiting_calls_are_bounded_in_time_and_number() {
        let (load, id) = (Load::new(1, 1), "r-1".into());
        let first = load.acquire("/first", &id).await.unwrap();
        let mut second = Box::pin(load.acquire("/second", &id));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!((load.in_flight(), load.waiting()), (1, 1));
        // There is one slot only.
        assert!(load.acquire("/third", &id).now_or_never().unwrap().is_none());
        drop(first);
        let second = second.await.unwrap();
        assert_eq!((load.oldest(9)[0].method, load.waiting()), ("/second", 0));
        let began = Instant::now();
        assert!(load.acquire("/late", &id).await.is_none());
        assert!(began.elapsed() >= WAIT);
        // A call that is cancelled while it waits frees its slot.
        drop(load.acquire("/left", &id).now_or_never());
        assert_eq!((load.in_flight(), load.waiting()), (1, 0));
        drop(second);
        assert_eq!(load.in_flight(), 0);
        assert!(load.acquire("/next", &id).now_or_never().unwrap().is_some());
    }
}

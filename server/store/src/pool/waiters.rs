//! How many callers wait for the same thing.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// The callers that wait for the same thing, such as a connection of a pool.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    /// Notified when a caller begins to wait.
    begun: Notify,
}

impl Waiters {
    /// Counts a caller until the result is dropped.
    pub(crate) fn begin(&self) -> Waiter<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_waiters();
        Waiter(self)
    }

    /// How many callers wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until at least one caller waits.
    pub(crate) async fn any(&self) {
        loop {
            let mut begun = pin!(self.begun.notified());
            // Registered before the count is read, so that no caller is missed between the two.
            begun.as_mut().enable();
            if self.count() > 0 {
                return;
            }
            begun.await;
        }
    }
}

/// A caller that waits. It counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiter<'a>(&'a Waiters);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Waiters;

    #[test]
    fn a_caller_counts_while_it_waits() {
        let waiters = Waiters::default();
        let one = waiters.begin();
        drop(waiters.begin());
        assert_eq!(waiters.count(), 1);
        assert!(waiters.any().now_or_never().is_some(), "one waits already");
        drop(one);
        let mut any = Box::pin(waiters.any());
        assert!((&mut any).now_or_never().is_none(), "none waits");
        drop(waiters.begin());
        assert!((&mut any).now_or_never().is_none(), "it waits no longer");
        let _one = waiters.begin();
        assert!(any.now_or_never().is_some(), "one begins to wait");
    }
}

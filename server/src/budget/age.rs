//! The age of a connection: what streams without an end of their own, such as a health Watch, end by.

use std::future::Future;

use tokio::sync::watch;

/// Whether a connection has reached its greatest age. Clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionAge(watch::Sender<bool>);

impl ConnectionAge {
    /// The connection is aged: its client is asked to open another one.
    pub fn reach(&self) {
        self.0.send_replace(true);
    }

    /// Ends when the connection is aged. The future borrows nothing.
    pub fn reached(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (mut seen, kept) = (self.0.subscribe(), self.0.clone());
        async move {
            // The sender is kept: without one the wait would end by itself.
            let _ = seen.wait_for(|reached| *reached).await;
            drop(kept);
        }
    }
}

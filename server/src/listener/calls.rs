//! Counts the calls in flight: each from its request until the last byte of its answer is handed to
//! the connection.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Buf, Bytes, Frame, SizeHint};
use tokio::{sync::watch, time::timeout};

/// The count of calls in flight. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlightCalls {
    count: watch::Sender<usize>,
}

impl InFlightCalls {
    /// Counts one more call, for as long as a clone of the answer lives.
    pub(super) fn begin(&self) -> InFlightCall {
        self.count.send_modify(|count| *count += 1);
        InFlightCall { _counted: Arc::new(Counted(self.count.clone())) }
    }

    /// How many calls are in flight at this moment.
    pub(super) fn in_flight(&self) -> usize {
        *self.count.borrow()
    }

    /// Ends when no call is in flight.
    pub(super) async fn none(&self) {
        self.until(|count| count == 0).await;
    }

    /// Ends when no call has been in flight for `pause`: a call that was sent before its client
    /// received GOAWAY may still arrive.
    pub(super) async fn quiet(&self, pause: Duration) {
        loop {
            self.none().await;
            if timeout(pause, self.until(|count| count > 0)).await.is_err() {
                return;
            }
        }
    }

    async fn until(&self, wanted: impl Fn(usize) -> bool) {
        let mut seen = self.count.subscribe();
        let found = seen.wait_for(|count| wanted(*count)).await;
        debug_assert!(found.is_ok(), "the sender is our own");
    }
}

/// A call in flight; clones are the same call.
#[derive(Clone, Debug)]
pub(super) struct InFlightCall {
    _counted: Arc<Counted>,
}

#[derive(Debug)]
struct Counted(watch::Sender<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The body of an answer. Its call ends when the body and all pieces of it are
/// dropped: the pieces wait in the connection's buffer while a slow client
/// reads, long after the body has been polled to its end.
#[derive(Debug)]
pub(super) struct CallBody<B> {
    body: B,
    call: InFlightCall,
}

impl<B> CallBody<B> {
    pub(super) fn new(body: B, call: InFlightCall) -> Self {
        Self { body, call }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CallBody<B> {
    type Data = CallBytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<CallBytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map_ok(|frame| frame.map_data(|bytes| CallBytes { bytes, _call: self.call.clone() }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer that keeps its call in flight.
#[derive(Debug)]
pub(super) struct CallBytes {
    bytes: Bytes,
    _call: InFlightCall,
}

impl Buf for CallBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(into)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

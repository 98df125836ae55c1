//! The body of a request, which is read to its end though its answer needs none of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::{runtime::Handle, time::timeout};

/// What the transport may hold of one request that is not read yet, in bytes.
pub const STREAM_WINDOW: u32 = 64 * 1024;

/// How long the rest of a request may take to come after its answer.
const REST: Duration = Duration::from_secs(1);

/// A request's body. What is left of it when it is dropped is read and thrown away, a window of it
/// at most and for at most a second.
///
/// A call may be answered before its request has come, as with wrong credentials. Without this the
/// stream is reset then, the transport forgets it, and counts the rest of the request as a
/// violation of the protocol. It ends the connection, and all of its calls, at the 1,025th.
#[derive(Debug)]
pub struct RequestBody(Option<Incoming>);

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.0.take_if(|body| !body.is_end_stream())
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(REST, discard(body)));
        }
    }
}

/// Reads a body until its end, or until it is longer than a window. Its peer stops then, since the
/// stream is reset.
async fn discard(mut body: Incoming) {
    let mut left = STREAM_WINDOW as usize;
    while let Some(Ok(frame)) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

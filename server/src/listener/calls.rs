//! Which calls are in flight: each is counted from its request to the moment
//! when the last byte of its answer has been handed to the connection.

use std::{
    future::poll_fn,
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    body::{Body, Buf, Bytes, Frame, SizeHint},
    rt::Executor,
};
use tokio::{sync::watch, time::timeout};

use crate::budget::{Account, Held, Side, Watched, rows::RowCharge};

/// The count of calls in flight. Every clone is the same count.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    count: watch::Sender<usize>,
}

impl Calls {
    /// Counts one more call, for as long as a clone of the answer lives.
    pub(super) fn begin(&self) -> Call {
        self.count.send_modify(|count| *count += 1);
        Call { _counted: Arc::new(Counted(self.count.clone())) }
    }

    /// How many calls are in flight at this moment.
    pub(super) fn in_flight(&self) -> usize {
        *self.count.borrow()
    }

    /// Ends when no call is in flight.
    pub(super) async fn none(&self) {
        self.until(|count| count == 0).await;
    }

    /// Ends when no call has been in flight for `pause`: one that was on its
    /// way when its connection was told to go still comes.
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
pub(super) struct Call {
    _counted: Arc<Counted>,
}

#[derive(Debug)]
struct Counted(watch::Sender<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The most of an answer that the transport gets at once, in bytes. What its peer's window has
/// no room for stays here, where the call can be ended.
const PIECE: usize = 16 * 1024;

/// The body of an answer. Its call ends when the body and all pieces of it are dropped: the
/// pieces wait in the connection's buffer while a slow client reads, long after the body has
/// been polled to its end. Its bytes are charged to the connection's account until then.
#[derive(Debug)]
pub(super) struct CallBody<B> {
    body: B,
    /// What of the last frame isn't in the transport yet.
    rest: Bytes,
    /// The memory of that frame, which goes as a whole.
    held: Option<Arc<Held>>,
    call: Call,
    /// What the layers have charged for the call.
    ahead: Option<Arc<Held>>,
    /// What its rows were charged, until they are encoded.
    rows: Option<Arc<RowCharge>>,
    watched: Arc<Watched>,
}

impl<B> CallBody<B> {
    pub(super) fn new(
        body: B,
        call: Call,
        watched: Arc<Watched>,
        ahead: Option<Arc<Held>>,
        rows: Option<Arc<RowCharge>>,
    ) -> Self {
        Self { body, rest: Bytes::new(), held: None, call, ahead, rows, watched }
    }

    fn piece(&mut self) -> CallBytes {
        self.watched.begin_piece();
        CallBytes {
            bytes: self.rest.split_to(PIECE.min(self.rest.len())),
            watched: self.watched.clone(),
            _held: self.held.clone(),
            _call: self.call.clone(),
            _ahead: self.ahead.clone(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CallBody<B> {
    type Data = CallBytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<CallBytes>, B::Error>>> {
        if self.rest.is_empty() {
            self.held = None;
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) if frame.is_data() => {
                    let data = frame.into_data().unwrap_or_default();
                    let account = self.watched.account();
                    self.held = Some(Arc::new(account.take_anyway(Side::Answered, data.len())));
                    self.rest = data;
                    self.rows = None;
                }
                other => {
                    return Poll::Ready(
                        other.map(|frame| frame.map(|it| it.map_data(|_| self.piece()))),
                    );
                }
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer that keeps its call in flight.
#[derive(Debug)]
pub(super) struct CallBytes {
    bytes: Bytes,
    watched: Arc<Watched>,
    _held: Option<Arc<Held>>,
    _call: Call,
    _ahead: Option<Arc<Held>>,
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
        self.watched.note_taken();
    }
}

impl Drop for CallBytes {
    fn drop(&mut self) {
        self.watched.end_piece();
    }
}

tokio::task_local! {
    /// The call whose stream a task of the transport carries.
    static WATCHED: Arc<Watched>;
}

/// Runs the transport's tasks, a call each, and ends those whose answer is not taken: the stream
/// is reset then.
#[derive(Clone, Debug)]
pub(super) struct Tasks(pub(super) Account);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let watched = Arc::new(self.0.watch());
        let mut task = Box::pin(WATCHED.scope(watched.clone(), task));
        tokio::spawn(poll_fn(move |context| {
            if task.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            watched.poll_ended(context)
        }));
    }
}

/// The call that the task of the transport carries which runs now.
pub(super) fn watched(account: &Account) -> Arc<Watched> {
    WATCHED.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(account.watch()))
}

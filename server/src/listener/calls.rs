//! Counts the calls in flight: each from its request until the last byte of its answer is handed to
//! the connection.

use std::{
    future::poll_fn,
    io::IoSlice,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bookstore_store::Meter;
use hyper::{
    body::{Body, Buf, Bytes, Frame, SizeHint},
    rt::Executor,
};
use tokio::{sync::Notify, time::timeout};

use crate::budget::{Account, CallBudget, Held};

/// The count of calls in flight. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlightCalls {
    count: Arc<Count>,
}

/// A count, and those who wait for a change of it. Without any it costs two atomic operations.
#[derive(Debug, Default)]
struct Count {
    number: AtomicUsize,
    changed: Notify,
}

impl InFlightCalls {
    /// Counts one more call, for as long as a clone of the answer lives.
    pub(super) fn begin(&self) -> InFlightCall {
        self.count.number.fetch_add(1, Ordering::SeqCst);
        self.count.changed.notify_waiters();
        InFlightCall { _counted: Arc::new(Counted(self.count.clone())) }
    }

    /// How many calls are in flight at this moment.
    pub(super) fn in_flight(&self) -> usize {
        self.count.number.load(Ordering::SeqCst)
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
        loop {
            let mut changed = pin!(self.count.changed.notified());
            // Registered before the count is read, so that no change is missed between the two.
            changed.as_mut().enable();
            if wanted(self.in_flight()) {
                return;
            }
            changed.await;
        }
    }
}

/// A call in flight; clones are the same call.
#[derive(Clone, Debug)]
pub(super) struct InFlightCall {
    _counted: Arc<Counted>,
}

#[derive(Debug)]
struct Counted(Arc<Count>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.number.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
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
    /// The memory of that frame.
    held: Charge,
    call: InFlightCall,
    budget: Arc<CallBudget>,
    /// Whether the body waits for its peer: it is there, or has more than the peer has taken.
    waits: bool,
}

/// The memory of a frame.
#[derive(Debug, Default)]
enum Charge {
    /// It is part of what every call takes.
    #[default]
    Included,
    /// It goes in one piece.
    Whole { _held: Held },
    /// It goes in several pieces, and with the last one of them.
    Shared(Arc<Held>),
}

impl Charge {
    fn of(held: Option<Held>, bytes: usize) -> Self {
        match held {
            None => Self::Included,
            Some(held) if bytes <= PIECE => Self::Whole { _held: held },
            Some(held) => Self::Shared(Arc::new(held)),
        }
    }

    fn piece(&mut self) -> Self {
        match self {
            Self::Shared(held) => Self::Shared(held.clone()),
            whole => std::mem::take(whole),
        }
    }
}

impl<B> CallBody<B> {
    pub(super) fn new(body: B, call: InFlightCall, budget: Arc<CallBudget>) -> Self {
        budget.begin_wait();
        Self { body, rest: Bytes::new(), held: Charge::Included, call, budget, waits: true }
    }

    fn piece(&mut self) -> CallBytes {
        self.budget.begin_wait();
        CallBytes {
            bytes: self.rest.split_to(PIECE.min(self.rest.len())),
            budget: self.budget.clone(),
            _held: self.held.piece(),
            _call: self.call.clone(),
        }
    }

    fn set_waits(&mut self, waits: bool) {
        if std::mem::replace(&mut self.waits, waits) == waits {
            return;
        }
        match waits {
            true => self.budget.begin_wait(),
            false => self.budget.end_wait(),
        }
    }
}

impl<B> Drop for CallBody<B> {
    fn drop(&mut self) {
        self.set_waits(false);
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
            self.held = Charge::Included;
            let polled = Pin::new(&mut self.body).poll_frame(context);
            // The peer is not at fault for what isn't there yet.
            self.set_waits(polled.is_ready());
            match ready!(polled) {
                Some(Ok(frame)) if frame.is_data() => {
                    let data = frame.into_data().unwrap_or_default();
                    // Now that they are encoded.
                    self.budget.reset();
                    self.held = Charge::of(self.budget.charge_frame(data.len()), data.len());
                    self.rest = data;
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
    budget: Arc<CallBudget>,
    _held: Charge,
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
        self.budget.note_taken();
    }
}

impl Drop for CallBytes {
    fn drop(&mut self) {
        self.budget.end_wait();
    }
}

/// The call that a connection's transport is about to give a task: it asks the service for it
/// and spawns the task at once, one call after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct NextCall(Arc<Mutex<Option<Arc<CallBudget>>>>);

impl NextCall {
    /// Begins a call whose task is spawned next.
    pub(super) fn begin(&self, account: &Account) -> Arc<CallBudget> {
        let call = account.begin_call();
        *self.call() = Some(call.clone());
        call
    }

    fn call(&self) -> MutexGuard<'_, Option<Arc<CallBudget>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the transport's tasks, a call each, and ends those whose answer is not taken: the stream
/// is reset then.
impl<F> Executor<F> for NextCall
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let Some(call) = self.call().take() else {
            tokio::spawn(async move { drop(task.await) });
            return;
        };
        tokio::spawn(async move {
            let mut task = pin!(task);
            poll_fn(|context| {
                if task.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                call.poll_ended(context)
            })
            .await;
        });
    }
}

//! The accept loop: HTTP/2 connections (prior knowledge, as gRPC has it) in
//! front of one tower service, and the bounded drain at the end.

mod authority;
mod calls;
mod preface;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{Extensions, Request, Response};
use hyper::{
    body::{Body, Bytes, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::Rng;
use tokio::{
    io::AsyncReadExt,
    task::{JoinError, JoinSet},
    time::{sleep, sleep_until, timeout},
};
use tower::{Service, ServiceExt};

pub use self::socket::Socket;
use self::{
    authority::AnyAuthority,
    calls::{CallBody, InFlightCalls, NextCall},
    socket::{Accepted, Peer},
};
use crate::{
    budget::{self, Budget, ConnectionAge},
    meters,
    shutdown::Stop,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The time between two pings, and how long the answer may take: a peer that is gone without
/// closing its connection is detected within their sum.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// InFlightCalls at the same time on one connection beyond those that have permits: health and
/// reflection. More of them wait at the client.
const CALLS_BESIDE: u32 = 16;
/// InFlightCalls that a peer may take back before they are seen here, so that opening
/// and resetting streams in a loop ends the connection and costs no memory.
const RESET_CALLS: usize = 256;
/// The metadata of a request in bytes, as HTTP/2 counts it (RFC 9113, 6.5.2). The layers take
/// half of it and tell why; beyond this the transport answers 431 by itself.
const METADATA_BYTES: u32 = 32 * 1024;
/// What the transport may hold of the requests of a connection that are not read yet.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Without a call in flight for this long, a drain waits no more: it is the
/// round trip that a client needs to take in the goodbye.
const QUIET: Duration = Duration::from_millis(200);
/// How long cancelled calls may take to release what they hold.
const CUT: Duration = Duration::from_secs(1);
/// Pauses after an accept that failed for lack of descriptors or memory: the first and the longest.
/// Each pause is twice the one before.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Makes the extensions that all requests of a new connection carry.
pub type MakeExtensions = fn() -> Extensions;

/// What the transport may hold of one request that is not read yet, in bytes.
pub const STREAM_WINDOW: u32 = 64 * 1024;

/// What the budget counts for a call that waits is what the transport may hold of one.
const _: () =
    assert!(budget::UNCHARGED == budget::CALL + STREAM_WINDOW as usize + METADATA_BYTES as usize);

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// How many there may be; more are closed at once.
    pub connections: u32,
    /// The timeout of a connection's HTTP/2 preface. Without it a silent peer would hold its slot
    /// for ever, since pings only begin after the preface.
    pub preface_timeout: Duration,
    /// The age, give or take a tenth, at which a connection gets GOAWAY; none is no limit.
    pub age: Option<Duration>,
    /// How long calls in flight may take to end after the stop.
    pub drain: Duration,
    /// How long a peer may take nothing of its answers before they, or it, are ended.
    pub idle: Duration,
}

/// How [`serve`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Calls that were still in flight after the drain's timeout and were cancelled.
    pub calls_cut: usize,
}

/// Serves `service` on `socket` until `stop` is triggered, then drains: the port closes, each
/// connection gets GOAWAY, calls in flight may end within `limits.drain`, and the rest are
/// cancelled. A call is in flight until the last byte of its answer has left; connections without
/// one don't count.
///
/// An endless answer, such as a health watch, counts as a call: its service ends it on its own
/// stop. Every request carries tonic's `TcpConnectInfo`, so `tonic::Request::remote_addr` works, or
/// `UdsConnectInfo`, and what `make_extensions` made for its connection.
pub async fn serve<S, B>(
    socket: Socket,
    service: S,
    make_extensions: MakeExtensions,
    budget: Arc<Budget>,
    stop: Stop,
    limits: ConnectionLimits,
) -> Drained
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let calls = InFlightCalls::default();
    let mut connections = JoinSet::new();
    let each = Each { service, calls: calls.clone(), budget, stop, limits };
    accept(&socket, &mut connections, &each, make_extensions).await;
    drop(socket);
    drain(connections, &calls, limits.drain).await
}

/// What every connection works with.
#[derive(Clone)]
struct Each<S> {
    service: S,
    calls: InFlightCalls,
    budget: Arc<Budget>,
    stop: Stop,
    limits: ConnectionLimits,
}

async fn accept<S, B>(
    socket: &Socket,
    connections: &mut JoinSet<()>,
    each: &Each<S>,
    make_extensions: MakeExtensions,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let most = each.limits.connections;
    let open = Arc::new(AtomicU32::new(0));
    let looked_at = Arc::clone(&open);
    meters::CONNECTIONS
        .observe(move |gauge| gauge.observe(looked_at.load(Ordering::Relaxed).into(), &[]));
    let mut stopped = pin!(each.stop.wait());
    let (mut pause, mut full) = (ACCEPT_PAUSE.0, false);
    loop {
        let there = u32::try_from(connections.len()).unwrap_or(u32::MAX);
        open.store(there, Ordering::Relaxed);
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            // Before the next accept, so that connections that have ended free their slots.
            Some(ended) = connections.join_next() => {
                report_panic(ended);
                continue;
            }
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(_) if there >= most => {
                // Closed instead of queued: the client can connect to another instance at once.
                meters::CONNECTIONS_REFUSED.add(1, &[]);
                if !std::mem::replace(&mut full, true) {
                    tracing::warn!(most, "max_connections is reached, new connections are closed");
                }
            }
            Ok(accepted) => {
                (pause, full) = (ACCEPT_PAUSE.0, false);
                let each = each.clone();
                match accepted {
                    Accepted::Tcp(stream) => {
                        connections.spawn(connection(stream, each, make_extensions()))
                    }
                    #[cfg(unix)]
                    Accepted::Unix(stream) => {
                        connections.spawn(connection(stream, each, make_extensions()))
                    }
                };
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // The process is out of file descriptors or memory. Without the pause this loop
                // would use a whole core, which calls in flight need to end.
                tracing::error!(%error, ?pause, "no connection can be accepted");
                tokio::select! {
                    () = &mut stopped => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
            }
        }
    }
}

/// Whether the peer closed its connection before the accept. The next accept isn't affected.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn connection<P, S, B>(stream: P, each: Each<S>, mut shared: Extensions)
where
    P: Peer,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let Each { service, calls, budget, stop, limits } = each;
    let account = budget.open();
    let age = ConnectionAge::default();
    shared.insert(age.clone());
    let peer = stream.add_connect_info(&mut shared);
    let mut stopped = pin!(stop.wait());
    let mut aged = pin!(grow_old(limits.age));
    // Without it each small answer waits for the peer's delayed acknowledgement.
    if let Err(error) = stream.without_delay() {
        tracing::debug!(%error, "TCP_NODELAY can't be set on a connection");
    }
    let (mut read, write) = stream.halves();
    let received = tokio::select! {
        () = &mut stopped => return,
        received = preface::read_preface(&mut read, limits.preface_timeout) => received,
    };
    let Some(received) = received else { return };
    let preface = received.get_ref().len();
    let read = AnyAuthority::new(received.chain(read), P::IS_LOCAL, preface);
    let stream = tokio::io::join(read, write);
    let ends = account.clone();
    let next = NextCall::default();
    let tasks = next.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let budget = next.begin(&account);
        request.extensions_mut().extend(shared.clone());
        request.extensions_mut().insert(budget.clone());
        let call = calls.begin();
        let answered = service.clone().oneshot(request);
        async move {
            let response = answered.await?;
            Ok::<_, Infallible>(response.map(|body| CallBody::new(body, call, budget)))
        }
    });
    let mut http2 = http2::Builder::new(tasks);
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(ends.limits().calls.saturating_add(CALLS_BESIDE))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESET_CALLS)
        .max_header_list_size(METADATA_BYTES);
    let mut served = pin!(http2.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        // Dropped, with its calls.
        () = ends.ended(limits.idle) => return,
        // Calls in flight end normally, and streams without an end of their own end now. The client
        // opens another connection, perhaps to a newer
        // instance.
        () = either(&mut stopped, &mut aged) => {
            served.as_mut().graceful_shutdown();
            age.reach();
            tokio::select! {
                ended = served => ended,
                () = ends.ended(limits.idle) => return,
            }
        }
    };
    // A peer that closes the connection or doesn't speak HTTP/2 is no error of the service.
    if let Err(error) = ended {
        tracing::debug!(%error, peer, "a connection ended with an error");
    }
}

/// Ends with the first of the two.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// Ends when a connection has reached its maximum age. Jitter keeps connections that were opened
/// together from reconnecting together.
async fn grow_old(age: Option<Duration>) {
    match age {
        Some(age) => {
            let about = age.mul_f64(rand::rng().random_range(0.9..1.1));
            sleep(about).await;
        }
        None => std::future::pending().await,
    }
}

async fn drain(
    mut connections: JoinSet<()>,
    calls: &InFlightCalls,
    drain_timeout: Duration,
) -> Drained {
    let over = tokio::time::Instant::now() + drain_timeout;
    let all_gone = async {
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
        }
    };
    let calls_cut = tokio::select! {
        () = all_gone => 0,
        () = calls.quiet(QUIET) => 0,
        () = sleep_until(over) => calls.in_flight(),
    };
    // A call runs in a task of its own that ends with its connection.
    connections.shutdown().await;
    if timeout(CUT, calls.none()).await.is_err() {
        tracing::warn!(calls = calls.in_flight(), "cancelled calls still run");
    }
    Drained { calls_cut }
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

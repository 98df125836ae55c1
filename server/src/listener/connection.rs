//! One connection: its handshake, its preface, its calls, and its end.

use std::{convert::Infallible, error::Error, pin::pin, sync::Arc, time::Duration};

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
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, sleep_until},
};
use tower::{Service, ServiceExt};

use super::{
    authority::AnyAuthority,
    calls::{CallBody, InFlightCalls, NextCall},
    handshake::Handshakes,
    preface,
    request_body::{RequestBody, STREAM_WINDOW},
    socket::Peer,
};
use crate::{
    budget::{self, Budget, ConnectionAge},
    security::tls::PeerCertificate,
    shutdown::Stop,
};

/// An error of an answer's body.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The metadata of a request in bytes, as HTTP/2 counts it (RFC 9113, 6.5.2). The layers take
/// half of it and tell why; beyond this the transport answers 431 by itself.
const METADATA_BYTES: u32 = 32 * 1024;

/// What the budget counts for a call that waits is what the transport may hold of one.
const _: () =
    assert!(budget::UNCHARGED == budget::CALL + STREAM_WINDOW as usize + METADATA_BYTES as usize);

/// The service that answers the calls of all connections.
pub trait CallService:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Answer>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
    /// The body of its answers.
    type Answer: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;
}

impl<S, B> CallService for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Answer = B;
}

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// How many there may be; more are closed at once.
    pub connections: u32,
    /// The timeout of a connection's handshake and HTTP/2 preface together. Without it a silent peer would hold its slot
    /// for ever, since pings only begin after the preface.
    pub preface_timeout: Duration,
    /// The age, give or take a tenth, at which a connection gets GOAWAY; none is no limit.
    pub age: Option<Duration>,
    /// How long calls in flight may take to end after the stop.
    pub drain: Duration,
    /// How long a peer may take nothing of its answers before they, or it, are ended.
    pub idle: Duration,
}

/// What every connection works with.
#[derive(Clone)]
pub(super) struct Each<S> {
    /// None without TLS.
    pub(super) handshakes: Option<Handshakes>,
    pub(super) service: S,
    pub(super) calls: InFlightCalls,
    pub(super) budget: Arc<Budget>,
    pub(super) stop: Stop,
    pub(super) limits: ConnectionLimits,
}

/// The time between two pings, and how long the answer may take: a peer that is gone without
/// closing its connection is detected within their sum.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls at the same time on one connection beyond those that have permits: health and
/// reflection. More of them wait at the client.
const CALLS_BESIDE: u32 = 16;
/// Calls that a peer may take back before they are seen here, so that opening
/// and resetting streams in a loop ends the connection and costs no memory.
const RESET_CALLS: usize = 256;
/// What the transport may hold of the requests of a connection that are not read yet.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long calls may go on after their connection's certificate is no longer accepted. A client
/// need not heed GOAWAY, so the connection is cut then.
const REFUSED: Duration = Duration::from_secs(5);

/// Makes the handshake of TLS and serves the connection. `place` is the handshake's.
pub(super) async fn encrypted<S>(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    deadline: Instant,
    each: Each<S>,
    shared: Extensions,
) where
    S: CallService,
{
    let Some(handshakes) = each.handshakes.clone() else { return };
    let stop = each.stop.clone();
    without_delay(&stream);
    let accepted = tokio::select! {
        () = stop.wait() => return,
        accepted = handshakes.accept(stream, deadline) => accepted,
    };
    drop(place);
    if let Ok((stream, certificate)) = accepted {
        connection(stream, certificate, deadline, each, shared).await;
    }
}

/// Serves a connection, whose preface must have come at `deadline`.
pub(super) async fn connection<P, S>(
    stream: P,
    certificate: Option<PeerCertificate>,
    deadline: Instant,
    each: Each<S>,
    mut shared: Extensions,
) where
    P: Peer,
    S: CallService,
{
    let Each { service, calls, budget, stop, limits, .. } = each;
    let account = budget.open();
    let age = ConnectionAge::default();
    shared.insert(age.clone());
    let peer = stream.add_connect_info(&mut shared);
    let mut stopped = pin!(stop.wait());
    let mut aged = pin!(grow_old(limits.age));
    let name = certificate.as_ref().and_then(|certificate| certificate.name.clone());
    if let Some(name) = name {
        shared.insert(name);
    }
    let mut refused = pin!(refused(certificate));
    without_delay(&stream);
    let (mut read, write) = stream.halves();
    let received = tokio::select! {
        () = &mut stopped => return,
        received = preface::read_preface(&mut read, deadline) => received,
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
        let answered = service.clone().oneshot(request.map(RequestBody::new));
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
    let (mut closing, mut cut_at) = (false, None);
    let ended = loop {
        let close = tokio::select! {
            ended = served.as_mut() => break ended,
            // Dropped, with its calls.
            () = ends.ended(limits.idle) => return,
            () = either(&mut stopped, &mut aged), if !closing => true,
            reason = &mut refused, if cut_at.is_none() => {
                cut_at = Some(Instant::now() + REFUSED);
                let reason = reason.to_string();
                tracing::info!(
                    target: "audit",
                    peer,
                    reason,
                    "a connection's certificate is no longer accepted"
                );
                true
            }
            () = cut(cut_at) => return,
        };
        // Calls in flight end normally, and streams without an end of their own end now. The
        // client opens another connection, perhaps to a newer instance.
        if close && !std::mem::replace(&mut closing, true) {
            served.as_mut().graceful_shutdown();
            age.reach();
        }
    };
    // A peer that closes the connection or doesn't speak HTTP/2 is no error of the service.
    if let Err(error) = ended {
        tracing::debug!(%error, peer, "a connection ended with an error");
    }
}

/// Without it each small answer waits for the peer's delayed acknowledgement.
fn without_delay(stream: &impl Peer) {
    if let Err(error) = stream.without_delay() {
        tracing::debug!(%error, "TCP_NODELAY can't be set on a connection");
    }
}

/// Ends when a connection's certificate is no longer accepted, with the reason.
async fn refused(certificate: Option<PeerCertificate>) -> rustls::Error {
    match certificate {
        Some(mut certificate) => certificate.refused().await,
        None => std::future::pending().await,
    }
}

/// Ends at this time; never without one.
async fn cut(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
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

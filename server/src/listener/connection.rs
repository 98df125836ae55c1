//! One connection: its handshake, its preface, its calls, and its end.

use std::{convert::Infallible, pin::pin, time::Duration};

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
    BoxError, Each, METADATA_BYTES, STREAM_WINDOW,
    authority::AnyAuthority,
    calls::{CallBody, NextCall},
    preface,
    socket::Peer,
};
use crate::{budget::ConnectionAge, security::tls::PeerCertificate};

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
pub(super) async fn encrypted<S, B>(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    deadline: Instant,
    each: Each<S>,
    shared: Extensions,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
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
pub(super) async fn connection<P, S, B>(
    stream: P,
    certificate: Option<PeerCertificate>,
    deadline: Instant,
    each: Each<S>,
    mut shared: Extensions,
) where
    P: Peer,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
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

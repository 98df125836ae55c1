//! The accept loop: HTTP/2 connections (prior knowledge, as gRPC has it) in
//! front of one tower service, and the bounded drain at the end.

mod calls;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::time::Duration;

use http::{Extensions, Request, Response};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tonic::transport::server::Connected;
use tower::{Service, ServiceExt};

use self::calls::{CallBody, Calls};
use crate::shutdown::Stop;

type BoxError = Box<dyn Error + Send + Sync>;

/// A connection says something within this time, or it is closed: it would
/// hold a file descriptor for ever, since pings begin with the first bytes.
const FIRST_BYTE: Duration = Duration::from_secs(20);
/// The time between two pings, and how long the answer may take: a peer that
/// vanished without a word is noticed within their sum.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls at the same time on one connection; more of them wait at the client.
const CALLS_A_CONNECTION: u32 = 256;
/// Calls that a peer may take back before they are seen here, so that opening
/// and resetting streams in a loop ends the connection and costs no memory.
const RESET_CALLS: usize = 256;
/// The metadata of a request in bytes, as HTTP/2 counts it (RFC 9113, 6.5.2).
const METADATA_BYTES: u32 = 16 * 1024;
/// Without a call in flight for this long, a drain waits no more: it is the
/// round trip that a client needs to take in the goodbye.
const QUIET: Duration = Duration::from_millis(200);
/// Calls that were cut get this long to drop what they hold.
const CUT: Duration = Duration::from_secs(1);
/// Pauses after an accept that failed for lack of means: the first, and the
/// longest, each being twice the one before.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Makes what all requests of a new connection carry as extensions.
pub type Greet = fn() -> Extensions;

/// How [`serve`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Calls that were still in flight when the time was up and were cut.
    pub calls_cut: usize,
}

/// Serves `service` on `listener` until `stop` is triggered, then drains: the
/// port closes, each connection is told to go (GOAWAY), calls in flight may end
/// within `drain_timeout`, and what is left is cut. A call is in flight until
/// the last byte of its answer has left; connections without one don't count.
///
/// An endless answer, such as a health watch, counts as a call: its service
/// ends it on its own stop. Every request carries tonic's `TcpConnectInfo`, so
/// `tonic::Request::remote_addr` works, and what `greet` made for its connection.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    greet: Greet,
    stop: Stop,
    drain_timeout: Duration,
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
    let calls = Calls::default();
    let mut connections = JoinSet::new();
    accept(&listener, &mut connections, &service, greet, &calls, &stop).await;
    drop(listener);
    drain(connections, &calls, drain_timeout).await
}

async fn accept<S, B>(
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    service: &S,
    greet: Greet,
    calls: &Calls,
    stop: &Stop,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut stopped = pin!(stop.wait());
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            Some(ended) = connections.join_next() => {
                report_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                pause = ACCEPT_PAUSE.0;
                let (service, calls, stop) = (service.clone(), calls.clone(), stop.clone());
                connections.spawn(connection(stream, service, greet(), calls, stop));
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: without the pause this loop
                // would take a whole core, and calls in flight need it to end.
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

/// The peer of one connection went away before it was accepted; the next
/// connection has nothing to do with it.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn connection<S, B>(
    stream: TcpStream,
    service: S,
    mut greeting: Extensions,
    calls: Calls,
    stop: Stop,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let info = stream.connect_info();
    greeting.insert(info.clone());
    let mut stopped = pin!(stop.wait());
    tokio::select! {
        () = &mut stopped => return,
        spoke = timeout(FIRST_BYTE, stream.readable()) => {
            if !matches!(spoke, Ok(Ok(()))) {
                return;
            }
        }
    }
    // Without it each small answer waits for the peer's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without nodelay");
    }
    let peer = info.remote_addr;
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(greeting.clone());
        let call = calls.begin();
        let answered = service.clone().oneshot(request);
        async move {
            let response = answered.await?;
            Ok::<_, Infallible>(response.map(|body| CallBody::new(body, call)))
        }
    });
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(CALLS_A_CONNECTION)
        .max_pending_accept_reset_streams(RESET_CALLS)
        .max_header_list_size(METADATA_BYTES);
    let mut served = pin!(http2.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = &mut stopped => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    // A peer that hangs up or speaks something else is no fault of ours.
    if let Err(error) = ended {
        tracing::debug!(%error, peer = ?peer, "a connection ended with an error");
    }
}

async fn drain(mut connections: JoinSet<()>, calls: &Calls, drain_timeout: Duration) -> Drained {
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
        tracing::warn!(calls = calls.in_flight(), "calls that were cut still run");
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

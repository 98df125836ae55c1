//! The accept loop: HTTP/2 connections (prior knowledge, as gRPC has it) in
//! front of one tower service, and the bounded drain at the end.

mod authority;
mod calls;
mod connection;
mod handshake;
mod preface;
mod request_body;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::Extensions;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use self::{
    calls::InFlightCalls,
    connection::{Each, connection, encrypted},
    handshake::Handshakes,
    socket::Accepted,
};
pub use self::{
    connection::{CallService, ConnectionLimits},
    request_body::{RequestBody, STREAM_WINDOW},
    socket::Socket,
};
use crate::{budget::Budget, meters, security::tls::Tls, shutdown::Stop};

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
/// stop. With `tls`, connections over TCP are encrypted, and a request carries the
/// [`PeerName`](bookstore_auth::PeerName) of its connection's certificate. Every request carries
/// tonic's `TcpConnectInfo`, so `tonic::Request::remote_addr` works, or `UdsConnectInfo`, and what
/// `make_extensions` made for its connection.
pub async fn serve<S>(
    socket: Socket,
    tls: Option<Tls>,
    service: S,
    make_extensions: MakeExtensions,
    budget: Arc<Budget>,
    stop: Stop,
    limits: ConnectionLimits,
) -> Drained
where
    S: CallService,
{
    let calls = InFlightCalls::default();
    let mut connections = JoinSet::new();
    let handshakes = tls.map(Handshakes::new);
    let each = Each { handshakes, service, calls: calls.clone(), budget, stop, limits };
    accept(&socket, &mut connections, &each, make_extensions).await;
    drop(socket);
    drain(connections, &calls, limits.drain).await
}

async fn accept<S>(
    socket: &Socket,
    connections: &mut JoinSet<()>,
    each: &Each<S>,
    make_extensions: MakeExtensions,
) where
    S: CallService,
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
                let (each, shared) = (each.clone(), make_extensions());
                let deadline = Instant::now() + each.limits.preface_timeout;
                match (accepted, &each.handshakes) {
                    (Accepted::Tcp(stream), None) => {
                        connections.spawn(connection(stream, None, deadline, each, shared));
                    }
                    (Accepted::Tcp(stream), Some(handshakes)) => {
                        if let Some(place) = handshakes.begin() {
                            connections.spawn(encrypted(stream, place, deadline, each, shared));
                        }
                    }
                    #[cfg(unix)]
                    (Accepted::Unix(stream), _) => {
                        connections.spawn(connection(stream, None, deadline, each, shared));
                    }
                }
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

async fn drain(
    mut connections: JoinSet<()>,
    calls: &InFlightCalls,
    drain_timeout: Duration,
) -> Drained {
    let over = Instant::now() + drain_timeout;
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

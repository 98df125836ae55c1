//! The admin address: what operators, probes and collectors of metrics ask for, apart from
//! the callers' port. HTTP/1.1, and HTTP/2 for the health checks of gRPC, with TLS if `admin_tls` is set.

mod connections;
mod operators;
mod sessions;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use bookstore_store::{Deadline, Schema, Store, now};
use http::{Request, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tonic_health::pb::health_server::HealthServer;
use tower::ServiceExt;

use self::connections::{AdminSlot, Connections};
use crate::{
    config::NodeEncryption,
    drift::Drift,
    rpc::{
        health::{DatabaseState, Readiness},
        load::Load,
    },
    security::{access::AccessControl, audit::PeerAddress, tls::Tls},
    telemetry,
};

/// A connection asks for something this often, or it is closed; an answer takes no longer.
const REQUEST: Duration = Duration::from_secs(10);

/// The timeout of the status query against the database.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Concurrent calls on one HTTP/2 connection.
const STREAMS: u32 = 8;

/// How many calls in flight `/calls` lists, the oldest first.
const CALLS: usize = 100;

/// The longest body: a level of the log.
const BODY: usize = 4096;

/// The path of the calls that a policy in report mode has seen.
pub const POLICY_CALLS: &str = "/policy/calls";

/// The paths of the admin address.
const PATHS: &str = "\
GET /livez         200 while the program runs
GET /readyz        200 while calls are answered, else 503 and why not
GET /status        the database: state, connections, latency, TLS
GET /pools         the connections to it
GET /topology      its nodes: role, timeline, position, lag
GET /calls         the calls in flight, the oldest first
GET /metrics       in Prometheus' text format, where it is on
GET /policy/calls  the calls that the policy has seen, where it only reports
GET, PUT /log-level
";

/// The sources of the answers.
#[derive(Clone)]
pub struct Admin {
    /// The database.
    pub store: Store,
    /// The revisions of this program.
    pub known: Vec<String>,
    /// The health.
    pub readiness: Readiness,
    /// The calls in flight.
    pub load: Load,
    /// How the connections to each node of the database are encrypted.
    pub encryption: Vec<NodeEncryption>,
    /// How the schema differs from what the migrations make.
    pub drift: Drift,
    /// Who may ask what; none lets everyone who reaches the address.
    pub access: Option<Arc<AccessControl>>,
    /// The metrics as Prometheus reads them, where they are kept.
    pub metrics: Option<fn() -> String>,
}

/// Answers on `listener` for as long as it is polled. With `tls`, connections are encrypted.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, admin: Admin) {
    let services = router(admin);
    let connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let slot = connections.admit(peer.ip());
                let peer = PeerAddress::Tcp(peer);
                let services = services.clone();
                match &tls {
                    None => tokio::spawn(connection(stream, services, slot, peer)),
                    Some(tls) => {
                        tokio::spawn(encrypted(stream, tls.admin_config(), services, slot, peer))
                    }
                };
            }
            Err(error) => {
                // The process is out of file descriptors. Without the pause this loop would use a
                // whole core.
                tracing::warn!(%error, "no connection to the admin address can be accepted");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn router(admin: Admin) -> Router {
    let health = HealthServer::new(admin.readiness.clone());
    let guard = from_fn_with_state(admin.access.clone(), operators::guard);
    Router::new()
        .route("/", get(PATHS))
        .route("/status", get(status))
        .route("/pools", get(pools))
        .route("/topology", get(topology))
        .route("/calls", get(calls))
        .route("/metrics", get(metrics))
        .route(POLICY_CALLS, get(policy_calls))
        .route("/log-level", get(level).put(set_level))
        .route_layer(guard)
        // Probes have no credentials.
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(Arc::new(admin))
        .route_service("/grpc.health.v1.Health/{method}", health)
}

/// Makes the handshake of TLS, which has as long as an idle connection, and serves the connection.
async fn encrypted(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    services: Router,
    slot: AdminSlot,
    peer: PeerAddress,
) {
    let accepted = tokio::select! {
        accepted = TlsAcceptor::from(config).accept(stream) => accepted,
        () = slot.ended(REQUEST) => return,
    };
    match accepted {
        Ok(stream) => connection(stream, services, slot, peer).await,
        Err(error) => tracing::debug!(%error, %peer, "a handshake on the admin address failed"),
    }
}

async fn connection<S>(stream: S, services: Router, slot: AdminSlot, peer: PeerAddress)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(REQUEST);
    builder.http2().max_concurrent_streams(STREAMS);
    let answer = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (services, answering) = (services.clone(), slot.answering());
        async move {
            let answer = timeout(REQUEST, services.oneshot(request)).await;
            drop(answering);
            Ok::<_, Infallible>(match answer {
                Ok(answer) => answer.into_response(),
                Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
            })
        }
    });
    let served = builder.serve_connection(TokioIo::new(stream), answer);
    tokio::select! {
        ended = served => if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the admin address ended with an error");
        },
        () = slot.ended(REQUEST) => tracing::debug!("a connection to the admin address was idle"),
    }
}

type AdminState = State<Arc<Admin>>;

async fn live(State(admin): AdminState) -> Response {
    match admin.readiness.serves("live") {
        Some(true) => "ok\n".into_response(),
        _ => unavailable("the service is about to stop\n".to_owned()),
    }
}

async fn ready(State(admin): AdminState) -> Response {
    match admin.readiness.why_not_ready() {
        None => "ok\n".into_response(),
        Some(why) => unavailable(format!("{why}\n")),
    }
}

/// Queries the database on each request, so that the latency is current.
async fn status(State(admin): AdminState) -> Response {
    let began = Instant::now();
    let schema = admin.store.schema(&admin.known, Deadline::after(DATABASE_TIMEOUT)).await;
    let latency_ms = began.elapsed().as_secs_f64() * 1e3;
    let (status, message) = match schema {
        Ok(Schema::Right { .. }) => match &*admin.readiness.database() {
            DatabaseState::Incomplete(missing) => ("SCHEMA_INCOMPLETE", Some(missing.join(", "))),
            _ => ("HEALTHY", None),
        },
        Ok(Schema::Pending(revisions)) => ("SCHEMA_PENDING", Some(revisions.join(" "))),
        Ok(Schema::ShutOut { revision, minimum_head }) => {
            let message = format!("{revision} shuts out programs that don't know {minimum_head}");
            ("SHUT_OUT", Some(message))
        }
        Err(error) => ("UNREACHABLE", Some(error.report())),
    };
    let active = match status {
        "UNREACHABLE" => None,
        _ => sessions::active(&admin.store, Deadline::after(DATABASE_TIMEOUT)).await,
    };
    let encryption = admin
        .encryption
        .iter()
        .map(|node| json!({"node": node.node, "mode": node.ssl_mode, "warning": node.warning}));
    let body = json(json!({
        "status": status,
        "message": message,
        "active_connections": active,
        "latency_ms": latency_ms,
        "time": now().to_rfc3339(),
        "database_tls": encryption.collect::<Value>(),
        "drift": admin.drift.report().map(|report| {
            report.findings.iter().map(|finding| finding.to_json()).collect::<Value>()
        }),
    }));
    match status {
        "HEALTHY" => body,
        _ => (StatusCode::SERVICE_UNAVAILABLE, body).into_response(),
    }
}

async fn pools(State(admin): AdminState) -> Response {
    let pools = admin.store.pools().into_iter().map(|pool| {
        json!({"node": &*pool.node, "used": pool.used, "idle": pool.idle, "most": pool.most})
    });
    json(pools.collect())
}

/// What `bookstore topology` prints, as this process sees it.
async fn topology(State(admin): AdminState) -> Response {
    let nodes =
        admin.store.nodes(Deadline::after(DATABASE_TIMEOUT)).await.into_iter().map(|node| {
            let lag_ms = node.lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
            json!({
                "node": node.name,
                "role": node.role.name(),
                "timeline": node.timeline,
                "position": node.lsn(),
                "lag_ms": lag_ms,
                "lag_bytes": node.lag_bytes,
                "used": node.in_use,
                "ejected": node.is_ejected,
            })
        });
    json(nodes.collect())
}

async fn calls(State(admin): AdminState) -> Response {
    let (most, most_waiting) = admin.load.limits();
    let oldest = admin.load.oldest(CALLS).into_iter().map(|call| {
        json!({
            "method": call.method,
            "request_id": &*call.request_id,
            "seconds": call.since.elapsed().as_secs_f64(),
        })
    });
    json(json!({
        "in_flight": admin.load.in_flight(),
        "most": most,
        "waiting": admin.load.waiting(),
        "most_waiting": most_waiting,
        "oldest": oldest.collect::<Value>(),
    }))
}

async fn policy_calls(State(admin): AdminState) -> Response {
    match admin.access.as_deref().and_then(operators::policy_calls) {
        Some(calls) => json(calls),
        None => {
            let message = "calls are counted where policy_mode is report\n";
            (StatusCode::NOT_FOUND, message).into_response()
        }
    }
}

async fn metrics(State(admin): AdminState) -> Response {
    match admin.metrics {
        Some(metrics) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics()).into_response(),
        None => (StatusCode::NOT_FOUND, "no metrics are kept for Prometheus\n").into_response(),
    }
}

async fn level() -> String {
    format!("{}\n", telemetry::level())
}

async fn set_level(wanted: String) -> Response {
    match telemetry::set_level(wanted.trim()) {
        Ok(()) => {
            // A warning, so that nearly every level of the log shows it.
            tracing::warn!(log_level = wanted.trim(), "the log's level was changed");
            level().await.into_response()
        }
        Err(message) => (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response(),
    }
}

fn json(value: Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

fn unavailable(message: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex, split},
        time::timeout,
    };

    use super::*;

    /// The slot of a connection.
    fn slot() -> AdminSlot {
        Connections::default().admit([127, 0, 0, 1].into())
    }

    /// Sends bytes one by one and returns the response, `wanted` bytes at most.
    async fn talk(said: &'static [u8], wanted: usize) -> Vec<u8> {
        let (ours, theirs) = duplex(1);
        tokio::spawn(connection(
            theirs,
            Router::new().route("/", get(PATHS)),
            slot(),
            PeerAddress::Unknown,
        ));
        let (mut input, mut output) = split(ours);
        let talking = tokio::spawn(async move { output.write_all(said).await });
        let mut answer = vec![0; wanted];
        input.read_exact(&mut answer).await.unwrap();
        // The server may close before it has read the rest. Only the response is compared.
        let _ = talking.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_http_version_is_detected_in_any_fragmentation() {
        // The preface, and an empty SETTINGS (RFC 9113, 3.4 and 6.5): answered by SETTINGS.
        let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        assert_eq!(talk(http2, 9).await[3], 4);
        // These begin with the same letters.
        assert_eq!(talk(b"PUT / HTTP/1.1\r\nhost: x\r\n\r\n", 12).await, b"HTTP/1.1 405");
        assert_eq!(talk(b"PRI / HTTP/1.1\r\nhost: x\r\n\r\n", 12).await, b"HTTP/1.1 405");
        assert_eq!(talk(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 12).await, b"HTTP/1.1 200");
    }

    /// An idle connection would hold one of the few slots for ever.
    #[tokio::test]
    async fn an_idle_admin_connection_is_closed() {
        let ended = async |said: &'static [u8]| {
            let (mut ours, theirs) = duplex(64);
            let began = Instant::now();
            let served =
                tokio::spawn(connection(theirs, Router::new(), slot(), PeerAddress::Unknown));
            ours.write_all(said).await.unwrap();
            timeout(REQUEST * 12, served).await.expect("it is closed").unwrap();
            began.elapsed()
        };
        // Nothing, and the beginning of either version.
        let (silent, first, http1) = tokio::join!(ended(b""), ended(b"PR"), ended(b"GET / H"));
        for elapsed in [silent, first, http1] {
            assert!(elapsed >= REQUEST, "{elapsed:?}");
        }
    }
}

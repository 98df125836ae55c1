//! The accept loop against real clients: tonic's, and bare TCP.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Extensions, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tonic::{
    body::Body as AnswerBody,
    transport::{Channel, Endpoint, server::TcpConnectInfo},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

use super::*;
use crate::budget;

/// The timeout of what must not wait.
const SOON: Duration = Duration::from_secs(60);
/// A timeout that must not pass.
const LONG: Duration = Duration::from_mins(10);

/// Limits that no test reaches.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 100,
    preface_timeout: LONG,
    age: None,
    drain: LONG,
    idle: LONG,
};

/// Budgets that no test reaches.
const BUDGET: budget::Limits = budget::Limits {
    stored_keys: 1,
    stored_bytes: 1,
    connection: 64 << 20,
    received: 64 << 20,
    answered: 64 << 20,
    decoded: 64 << 20,
    calls: 100,
};

struct TestListener {
    address: SocketAddr,
    stop: Stop,
    served: JoinHandle<Drained>,
    running: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
    go_on: Stop,
}

impl TestListener {
    /// Answers health checks: `at-once`; `held`, which waits for `go_on`; `big`,
    /// larger than any window; `watch`, whose answer ends on the stop.
    async fn start(drain: Duration) -> Self {
        Self::within(ConnectionLimits { drain, ..LIMITS }).await
    }

    async fn within(limits: ConnectionLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, go_on) = (Stop::new(), Stop::new());
        let (running, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let service = {
            let (running, begun) = (Arc::clone(&running), Arc::clone(&begun));
            let (stop, go_on) = (stop.clone(), go_on.clone());
            tower::service_fn(move |request: Request<RequestBody>| {
                let running = HandlerGuard::new(&running);
                begun.fetch_add(1, Ordering::SeqCst);
                let (stop, go_on) = (stop.clone(), go_on.clone());
                async move {
                    let _running = running;
                    assert!(request.extensions().get::<TcpConnectInfo>().is_some());
                    let wanted = request.into_body().collect().await.unwrap().to_bytes();
                    if wanted.ends_with(b"held") {
                        go_on.wait().await;
                    }
                    let size = if wanted.ends_with(b"big") { 3 << 20 } else { 0 };
                    let end = if wanted.ends_with(b"watch") { stop } else { go_at_once() };
                    Ok::<_, Infallible>(answer(size, end))
                }
            })
        };
        let socket = Socket::Tcp(listener);
        let served = tokio::spawn(serve(
            socket,
            None,
            service,
            Extensions::new,
            Budget::new(BUDGET),
            stop.clone(),
            limits,
        ));
        Self { address, stop, served, running, begun, go_on }
    }

    async fn client(&self) -> HealthClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        HealthClient::new(endpoint.connect().await.unwrap())
    }

    /// Triggers the stop. Returns how the drain ended and how long it took.
    async fn drained(self) -> (Drained, Duration) {
        let begun = Instant::now();
        self.stop.trigger();
        let drained = timeout(SOON * 2, self.served).await.unwrap().unwrap();
        (drained, begun.elapsed())
    }

    async fn until_running(&self, wanted: usize) {
        until(&self.running, wanted).await;
    }

    async fn until_begun(&self, wanted: usize) {
        until(&self.begun, wanted).await;
    }

    /// A client with small flow-control windows and a slow reader.
    async fn slow_client(&self) -> HealthClient<Channel> {
        let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", line.local_addr().unwrap()))
            .unwrap()
            .initial_stream_window_size(65_535);
        let far = self.address;
        tokio::spawn(async move {
            let (near, _) = line.accept().await.unwrap();
            let (mut near_in, mut near_out) = near.into_split();
            let (mut far_in, mut far_out) = TcpStream::connect(far).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
            let mut piece = [0; 16 << 10];
            while let Ok(size @ 1..) = far_in.read(&mut piece).await {
                near_out.write_all(&piece[..size]).await.unwrap();
                // This is the reader's speed. No condition is waited for here.
                sleep(Duration::from_millis(4)).await;
            }
        });
        HealthClient::new(endpoint.connect().await.unwrap())
    }
}

async fn until(count: &AtomicUsize, wanted: usize) {
    let reached = async {
        while count.load(Ordering::SeqCst) != wanted {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, reached).await.unwrap();
}

fn go_at_once() -> Stop {
    let stop = Stop::new();
    stop.trigger();
    stop
}

/// Counts the handlers that are alive.
struct HandlerGuard(Arc<AtomicUsize>);

impl HandlerGuard {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A gRPC answer: one message with an unknown field of `size` bytes, and the
/// trailers once `end` is triggered.
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn answer(size: usize, end: Stop) -> Response<AnswerBody> {
    let mut message = Vec::new();
    if size > 0 {
        // Field 2, length-delimited, and its length as a varint.
        message.push(0x12);
        let mut rest = size;
        while rest >= 0x80 {
            message.push((rest % 0x80) as u8 | 0x80);
            rest /= 0x80;
        }
        message.push(rest as u8);
        message.resize(message.len() + size, b'x');
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.append(&mut message);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(frame)).with_trailers(async move {
        end.wait().await;
        Some(Ok(trailers))
    });
    Response::builder()
        .header("content-type", "application/grpc")
        .body(AnswerBody::new(body))
        .unwrap()
}

async fn check(
    mut client: HealthClient<Channel>,
    service: &'static str,
) -> Result<HealthCheckResponse, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_call_in_flight_ends_and_a_new_one_is_refused() {
    let server = TestListener::start(LONG).await;
    let client = server.client().await;
    check(client.clone(), "at-once").await.unwrap();
    let held = tokio::spawn(check(client.clone(), "held"));
    server.until_running(1).await;
    server.stop.trigger();
    // The port closes at once, while the held call keeps the drain waiting.
    timeout(SOON, async { while TcpStream::connect(server.address).await.is_ok() {} })
        .await
        .unwrap();
    check(client, "at-once").await.unwrap_err();
    assert!(!server.served.is_finished() && !held.is_finished());
    server.go_on.trigger();
    held.await.unwrap().unwrap();
    let (drained, took) = server.drained().await;
    assert_eq!(drained.calls_cut, 0);
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_drain() {
    let server = TestListener::start(LONG).await;
    let idle = server.client().await;
    check(idle.clone(), "at-once").await.unwrap();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"PRI * HT").await.unwrap();
    // A connection that sends its preface and then answers nothing, not even a ping.
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    deaf.read_exact(&mut [0; 9]).await.unwrap();
    let (drained, took) = server.drained().await;
    assert_eq!(drained.calls_cut, 0);
    assert!(took < QUIET + SOON / 2, "{took:?}");
    for stream in [&mut silent, &mut half, &mut deaf] {
        let mut rest = Vec::new();
        // Closed, with or without a reset.
        let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    }
}

#[tokio::test]
async fn a_stuck_call_is_cancelled_after_the_drain_timeout() {
    let server = TestListener::start(Duration::from_millis(300)).await;
    let client = server.client().await;
    let held = tokio::spawn(check(client, "held"));
    server.until_running(1).await;
    let running = Arc::clone(&server.running);
    let (drained, took) = server.drained().await;
    assert_eq!(drained.calls_cut, 1);
    assert!(took >= Duration::from_millis(300) && took < SOON, "{took:?}");
    assert_eq!(running.load(Ordering::SeqCst), 0, "the handler outlived the drain");
    held.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_large_answer_reaches_a_slow_reader_after_the_stop() {
    let server = TestListener::start(LONG).await;
    let client = server.slow_client().await;
    let reading = tokio::spawn(check(client, "big"));
    server.until_begun(1).await;
    server.until_running(0).await;
    let (drained, took) = server.drained().await;
    reading.await.unwrap().unwrap();
    assert_eq!(drained.calls_cut, 0);
    assert!(took > QUIET * 2, "the reader was too fast to show anything: {took:?}");
}

#[tokio::test]
async fn a_call_cancelled_by_its_client_is_dropped() {
    let server = TestListener::start(LONG).await;
    let client = server.client().await;
    let held = tokio::spawn(check(client.clone(), "held"));
    server.until_running(1).await;
    held.abort();
    server.until_running(0).await;
    check(client, "at-once").await.unwrap();
    let (drained, took) = server.drained().await;
    assert!(drained.calls_cut == 0 && took < SOON, "{drained:?} {took:?}");
}

#[tokio::test]
async fn a_watch_ended_by_its_service_does_not_delay_the_drain() {
    let server = TestListener::start(LONG).await;
    let watch = tokio::spawn(check(server.client().await, "watch"));
    server.until_begun(1).await;
    server.until_running(0).await;
    assert!(!watch.is_finished());
    let (drained, took) = server.drained().await;
    watch.await.unwrap().unwrap();
    assert!(drained.calls_cut == 0 && took < SOON, "{drained:?} {took:?}");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed() {
    let server = TestListener::within(ConnectionLimits { connections: 2, ..LIMITS }).await;
    let client = server.client().await;
    check(client.clone(), "at-once").await.unwrap();
    let second = TcpStream::connect(server.address).await.unwrap();
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let closed = timeout(SOON, third.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    check(client, "at-once").await.unwrap();
    drop(second);
    let next = timeout(SOON, async {
        loop {
            let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
            let Ok(channel) = endpoint.connect().await else { continue };
            if check(HealthClient::new(channel), "at-once").await.is_ok() {
                return;
            }
        }
    });
    next.await.unwrap();
    server.drained().await;
}

/// Peers that are silent or stop within the preface don't hold slots for ever.
#[tokio::test]
async fn a_preface_that_never_ends_frees_its_slot() {
    let limits =
        ConnectionLimits { connections: 2, preface_timeout: Duration::from_millis(200), ..LIMITS };
    let server = TestListener::within(limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"PRI * HT").await.unwrap();
    for stream in [&mut silent, &mut half] {
        let closed = timeout(SOON, stream.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
    check(server.client().await, "at-once").await.unwrap();
    server.drained().await;
}

/// A call in flight outlives its connection's age, and the client reconnects by itself.
#[tokio::test]
async fn a_connection_of_maximum_age_gets_goaway() {
    let age = Some(Duration::from_millis(300));
    let server = TestListener::within(ConnectionLimits { age, ..LIMITS }).await;
    let client = server.client().await;
    let held = tokio::spawn(check(client.clone(), "held"));
    server.until_running(1).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut received = Vec::new();
    timeout(SOON, async {
        // Type 7 is GOAWAY.
        while !received.windows(5).any(|frame| frame == [0, 0, 8, 7, 0]) {
            let mut piece = [0; 1024];
            let size = idle.read(&mut piece).await.unwrap();
            assert!(size > 0, "closed without GOAWAY");
            received.extend_from_slice(&piece[..size]);
        }
    })
    .await
    .unwrap();
    assert!(!held.is_finished());
    timeout(SOON, async { while check(client.clone(), "at-once").await.is_err() {} })
        .await
        .unwrap();
    server.go_on.trigger();
    held.await.unwrap().unwrap();
    assert_eq!(server.drained().await.0.calls_cut, 0);
}

//! Requests with millions of entries, as many as fit into a message of 4 MiB. They are refused as a
//! whole, in bounded time and memory.

use std::time::{Duration, Instant};

use bookstore_tests::{Engine, Stopwatch, TestServer, raw};
use prost_reflect::prost::encoding::encode_varint;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{form, send};

/// The time limit of each request. Without optimisation they take 2 to 7 s on two cores. Needless
/// validation shows in memory far more than in time.
const LIMIT: Duration = Duration::from_secs(30);

/// A probe meanwhile takes some milliseconds and must not wait for the request's end. Beside other
/// tests that use all cores it takes seconds.
const PROBE: Duration = Duration::from_secs(8);

/// The most that the process may ever have taken, in bytes: an idle one takes half.
const MEMORY: u64 = 150_000_000;

/// A field with an empty value, repeated.
fn entries(tag: u8, count: usize) -> Vec<u8> {
    [tag << 3 | 2, 0].repeat(count)
}

/// An UpdateBook request whose mask names the same path repeatedly.
fn masked(count: usize) -> Vec<u8> {
    let mask = [0x0a, 1, b'x'].repeat(count);
    let mut request = vec![0x0a, 0, 0x12];
    encode_varint(mask.len() as u64, &mut request);
    request.extend(mask);
    request
}

/// A CreateBook request whose book has many empty reviews.
fn reviewed(count: usize) -> Vec<u8> {
    let book = entries(14, count);
    let mut request = vec![0x0a];
    encode_varint(book.len() as u64, &mut request);
    request.extend(book);
    request
}

/// One engine is enough, since no database is used. What is refused costs a few times its bytes, which is
/// far less than what it would be decoded to: two bytes take hundreds.
#[tokio::test]
async fn request_with_millions_of_entries_is_refused_in_bounded_time_and_memory() {
    let server = TestServer::start(Engine::Sqlite).await;
    for (method, body, field, memory) in [
        ("BatchGetBooks", entries(1, 1_900_000), "ids", MEMORY),
        ("UpdateBook", masked(1_300_000), "update_mask", MEMORY),
        ("CreateBook", reviewed(1_900_000), "book.latest_reviews", MEMORY),
        ("BatchCreateBooks", entries(1, 1_900_000), "requests", MEMORY),
    ] {
        assert!((3_700_000..4 << 20).contains(&body.len()), "{} bytes", body.len());
        let path = format!("/bookstore.v1.BookService/{method}");
        let watch = Stopwatch::start();
        let call = send(server.channel(), &path, body, &[]);
        let (answer, slowest) = health_until(&server, call).await;
        let took = watch.stop();
        let refusal = form(&answer.expect_err(method)).expect("the form of an error");
        refusal.is(Code::InvalidArgument, "FIELD_INVALID", &[field]);
        assert!(took.at_most(LIMIT), "{method} took {took:?}");
        assert!(
            slowest <= PROBE.mul_f64(took.stretch()),
            "health took {slowest:?} beside {method}"
        );
        if let Some(peak) = server.peak_memory() {
            assert!(peak < memory, "{method} took {peak} bytes");
        }
    }
}

/// A call's answer, and the longest duration of a probe meanwhile.
async fn health_until<T>(server: &TestServer, call: impl Future<Output = T>) -> (T, Duration) {
    let mut health = HealthClient::new(raw(server.address()).await);
    let mut slowest = Duration::ZERO;
    let probes = async {
        loop {
            let began = Instant::now();
            let request = HealthCheckRequest { service: "ready".to_owned() };
            let answer = health.check(request).await.expect("an answer about health");
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
            slowest = slowest.max(began.elapsed());
        }
    };
    let answer = tokio::select! {
        answer = call => answer,
        () = probes => unreachable!("probes don't end"),
    };
    (answer, slowest)
}

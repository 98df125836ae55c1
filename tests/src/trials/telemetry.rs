//! The cost of traces and metrics: the CPU time of a GetBook call in two services, one of which
//! exports both to a collector.

use std::time::Duration;

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, book_service_client::BookServiceClient,
};

use crate::{Engine, SOON, Sink, TestServer, until};

/// Calls in flight.
const CALLERS: u32 = 16;

/// Calls of each service in a row before the other one runs, so that disturbances affect both. They
/// are few enough for the queue of spans, which is emptied before the next portion.
const PORTION: u32 = 800;

/// Portions of a round; the suite's single round has fewer.
const PORTIONS: u32 = 25;
const FEW: u32 = 2;

/// The spans of a call: its own, of this name, its operation's and its statement's.
const SPANS: usize = 3;
const CALL: &str = "bookstore.v1.BookService/GetBook";

/// The allowed additional cost of a call with telemetry, in the full form of a release build.
const MOST: f64 = 1.25;

const ID: &str = "0195a000-0000-4000-8000-000000000001";

/// Makes `scale` rounds on each engine.
pub(super) async fn telemetry(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        compare(engine, scale).await;
    }
}

async fn compare(engine: Engine, rounds: u32) {
    let sink = Sink::start().await;
    let mut quiet = start(TestServer::builder(engine)).await;
    let exporting = TestServer::builder(engine)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint())
        // Short intervals, so that each round pays for its metrics and a portion is exported soon.
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "4096");
    let mut exporting = start(exporting).await;
    // Warm-up: connections, prepared statements, and other costs of first calls.
    get(&quiet).await;
    get_and_send(&exporting, &sink).await;
    let portions = if rounds > 1 { PORTIONS } else { FEW };
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let (before_quiet, before_exporting) = (cpu(&quiet), cpu(&exporting));
        for _ in 0..portions {
            get(&quiet).await;
            get_and_send(&exporting, &sink).await;
        }
        let each = |taken: Duration| taken.as_secs_f64() / f64::from(portions * PORTION);
        let (without, with) =
            (each(cpu(&quiet) - before_quiet), each(cpu(&exporting) - before_exporting));
        let ratio = with / without;
        eprintln!(
            "{engine:?}, round {}: {:.1} µs a call without, {:.1} with, ratio {ratio:.3}",
            round + 1,
            without * 1e6,
            with * 1e6,
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    let median = f64::midpoint(ratios[(ratios.len() - 1) / 2], ratios[ratios.len() / 2]);
    eprintln!("{engine:?}: ratio {median:.3}, median of {rounds} ({least:.3} to {most:.3})");
    for server in [&mut quiet, &mut exporting] {
        assert_eq!(server.terminate().await.status.code(), Some(0));
    }
    let calls = u64::from(PORTION * (1 + rounds * portions));
    assert!(sink.noted("rpc.server.call.duration") >= calls, "every call is in the metrics");
    if rounds > 1 && !cfg!(debug_assertions) {
        assert!(median <= MOST, "telemetry costs {median:.3} times as much, at most {MOST}");
    }
}

async fn start(builder: crate::Builder) -> TestServer {
    let server = builder.env("LOG_LEVEL", "warn").start().await;
    let book = Book {
        title: "The Book".to_owned(),
        author: "Author".to_owned(),
        price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
        ..Default::default()
    };
    let create = CreateBookRequest { id: ID.to_owned(), book: Some(book) };
    BookServiceClient::new(server.channel()).create_book(create).await.expect("a book");
    server
}

/// A portion of calls.
async fn get(server: &TestServer) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let mut books = BookServiceClient::new(server.channel());
            tokio::spawn(async move {
                for _ in (caller..PORTION).step_by(CALLERS as usize) {
                    let get = GetBookRequest { id: ID.to_owned(), ..Default::default() };
                    books.get_book(get).await.expect("the book");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
}

/// A portion of calls, until all of their spans have arrived.
async fn get_and_send(server: &TestServer, sink: &Sink) {
    drop(sink.take_spans());
    get(server).await;
    // A call's own span is the last of its spans.
    let sent = async || sink.count(CALL) == PORTION as usize;
    until("every call's span has arrived", SOON, sent).await;
    let spans = sink.take_spans().len();
    assert!(spans >= SPANS * PORTION as usize, "{spans} spans of {PORTION} calls");
}

fn cpu(server: &TestServer) -> Duration {
    server.cpu_time().expect("the CPU time of a process, as Linux reports it")
}

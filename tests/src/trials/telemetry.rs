//! What traces and metrics cost: the CPU time of two services, of which one sends both to a
//! collector, a GetBook call.

use std::time::Duration;

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, book_service_client::BookServiceClient,
};

use crate::{Engine, Sink, TestServer, until};

/// Calls in flight.
const CALLERS: u32 = 16;

/// Calls of a round, of each service; those of the suite's one round.
const CALLS: u32 = 20_000;
const FEW: u32 = 800;

/// The spans of a GetBook call: its own, its operation's and its statement's.
const SPANS: usize = 3;

/// How long the last spans of a round may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a call may cost more where telemetry goes out, in the full form of a release build.
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
    let quiet = start(TestServer::builder(engine)).await;
    let told = TestServer::builder(engine)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint())
        // So that each round pays for its metrics, and no span is left out.
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        .env("OTEL_BSP_SCHEDULE_DELAY", "500")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "100000");
    let mut told = start(told).await;
    let calls = if rounds > 1 { CALLS } else { FEW };
    // Connections, prepared statements, and what else only first calls pay for.
    for server in [&quiet, &told] {
        get(server, FEW).await;
    }
    let mut all = u64::from(FEW);
    until("the first spans have come", PATIENCE, async || sink.count() >= SPANS * FEW as usize)
        .await;
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let (mut without, mut with) = (0.0, 0.0);
        // Whoever is second finds another machine than the first one did.
        for turn in [round % 2 == 0, round % 2 == 1] {
            if turn {
                let before = cpu(&quiet);
                get(&quiet, calls).await;
                without = (cpu(&quiet) - before).as_secs_f64() / f64::from(calls);
            } else {
                drop(sink.take_spans());
                let before = cpu(&told);
                get(&told, calls).await;
                all += u64::from(calls);
                let wanted = SPANS * calls as usize;
                let arrived = async || sink.count() >= wanted;
                until("every span of the round has come", PATIENCE, arrived).await;
                with = (cpu(&told) - before).as_secs_f64() / f64::from(calls);
            }
        }
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
    assert_eq!(told.terminate().await.status.code(), Some(0));
    assert!(sink.noted("rpc.server.call.duration") >= all, "every call is in the metrics");
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

/// So many calls, some of them at the same time.
async fn get(server: &TestServer, calls: u32) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let mut books = BookServiceClient::new(server.channel());
            tokio::spawn(async move {
                for _ in (caller..calls).step_by(CALLERS as usize) {
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

fn cpu(server: &TestServer) -> Duration {
    server.cpu_time().expect("the CPU time of a process, as Linux tells it")
}

//! The life of the streams: deadlines, metadata, the log, cancelled calls, and the service's stop.

use std::time::{Duration, Instant};

use bookstore_proto::v1::{
    ExportBooksRequest, GetBookRequest, book_transfer_service_client::BookTransferServiceClient,
};
use bookstore_tests::{Engine, Signal, Stopwatch, TestServer, on_every_engine, raw, until};
use serde_json::{Value, json};
use tonic::{Code, Request};

use super::{Import, client, count, import, refusal, row, upsert};
use crate::{
    client::{a_book, books, done, id},
    lifecycle::{Held, SOON, can_connect, is_idle, waits_for_lock},
};

on_every_engine!(
    stream_deadline_ends_the_whole_stream,
    unary_metadata_on_a_stream_is_refused,
    stream_is_logged_as_one_line_with_its_termination_message,
    idle_import_holds_no_connection,
    stop_ends_open_streams_between_two_messages,
);

fn rows(numbers: std::ops::RangeInclusive<u32>) -> Vec<Value> {
    numbers.map(|number| row(number, a_book("Dune"))).collect()
}

fn options(number: u32) -> Value {
    json!({"options": {"import_id": id(number), "mode": "IMPORT_MODE_UPSERT"}})
}

async fn stream_deadline_ends_the_whole_stream(engine: Engine) {
    let server = TestServer::start(engine).await;
    let limit = Duration::from_millis(1_500);
    let mut request = Request::new(());
    request.set_timeout(limit);
    let watch = Stopwatch::start();
    let mut late = Import::bare(&server, request).await;
    late.send(options(900)).await;
    late.batch(1, &rows(1..=3)).await.expect("a batch in time");
    // Nothing more is sent, so only the deadline can end it.
    let refused = refusal(late.acknowledgement().await);
    refused.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
    let took = watch.stop();
    assert!(took.at_least(limit) && took.at_most(limit * 3), "after {took:?}");
    assert_eq!(count(&server).await, 3);

    let mut request = Request::new(ExportBooksRequest::default());
    request.metadata_mut().insert("grpc-timeout", "1n".parse().expect("ASCII"));
    let mut reader = BookTransferServiceClient::new(raw(server.address()).await);
    let mut stream = reader.export_books(request).await.expect("a stream").into_inner();
    refusal(stream.message().await).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
}

async fn unary_metadata_on_a_stream_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    for (key, value) in [
        ("idempotency-key", "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e"),
        ("validate-only", "true"),
        ("field-mask", "books.title"),
    ] {
        let mut request = Request::new(ExportBooksRequest::default());
        request.metadata_mut().insert(key, value.parse().expect("ASCII"));
        let refused = refusal(client(&server).export_books(request).await);
        refused.is(Code::Unimplemented, "METADATA_NOT_SUPPORTED", &[]).says("key", key);
        let mut request = Request::new(futures_util::stream::pending());
        request.metadata_mut().insert(key, value.parse().expect("ASCII"));
        let refused = refusal(client(&server).import_books(request).await);
        refused.is(Code::Unimplemented, "METADATA_NOT_SUPPORTED", &[]).says("key", key);
    }
}

/// The log line of a call with this request id.
async fn line(server: &TestServer, request_id: &str) -> Value {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    let is_line = |line: &Value| line["message"] == "call" && line["request_id"] == request_id;
    let line = server.logs().wait_for(|line| is_line(&parse(line))).await;
    let all = server.logs().json();
    assert_eq!(all.iter().filter(|line| is_line(line)).count(), 1, "{all:#?}");
    parse(&line)
}

async fn stream_is_logged_as_one_line_with_its_termination_message(engine: Engine) {
    let server = TestServer::start(engine).await;
    let named = |request_id: &str| {
        let mut request = Request::new(());
        request.metadata_mut().insert("request-id", request_id.parse().expect("ASCII"));
        request
    };
    let mut good = Import::bare(&server, named("good")).await;
    good.send(options(900)).await;
    good.batch(1, &rows(1..=2)).await.expect("a batch");
    let began = Instant::now();
    // The time that the stream is open has to show in its duration.
    tokio::time::sleep(Duration::from_millis(60)).await;
    let logs = server.logs().json();
    assert!(!logs.iter().any(|line| line["request_id"] == "good" && line["message"] == "call"));
    let least = began.elapsed().as_secs_f64() * 1e3;
    good.end(1, 2).await.expect("an end");
    let logged = line(&server, "good").await;
    assert_eq!((&logged["code"], &logged["level"]), (&json!("OK"), &json!("INFO")));
    assert_eq!(logged["method"], "/bookstore.v1.BookTransferService/ImportBooks");
    assert!(logged["duration_ms"].as_f64().is_some_and(|took| took >= least), "{logged}");

    let mut wrong = Import::bare(&server, named("wrong")).await;
    wrong.send(options(901)).await;
    wrong.batch(1, &rows(1..=2)).await.expect("a batch");
    wrong.refusal().await;
    assert_eq!(line(&server, "wrong").await["code"], "INVALID_ARGUMENT");

    let mut left = Import::bare(&server, named("left")).await;
    left.send(options(902)).await;
    left.batch(1, &rows(1..=2)).await.expect("a batch");
    drop(left);
    assert_eq!(line(&server, "left").await["code"], "CANCELLED");

    let export = named("export").map(|()| ExportBooksRequest::default());
    let mut stream = client(&server).export_books(export).await.expect("a stream").into_inner();
    while stream.message().await.expect("books").is_some() {}
    assert_eq!(line(&server, "export").await["code"], "OK");
}

/// An idle import doesn't block other imports either.
async fn idle_import_holds_no_connection(engine: Engine) {
    let server = TestServer::builder(engine)
        .env("DATABASE_POOL_SIZE", "1")
        .env("DATABASE_MAX_OVERFLOW", "0")
        .env("DATABASE_POOL_TIMEOUT", "2s")
        .start()
        .await;
    let mut imports = Vec::new();
    for number in 1..=4 {
        let mut import = Import::begin(&server, &id(900 + number), upsert()).await;
        import.batch(1, &rows(number..=number)).await.expect("a batch");
        imports.push(import);
    }
    done(books(&server).get_book(GetBookRequest { id: id(4), ..Default::default() }).await);
    for mut import in imports {
        import.batch(2, &rows(5..=6)).await.expect("a batch");
        import.end(2, 3).await.expect("an end");
    }
}

async fn stop_ends_open_streams_between_two_messages(engine: Engine) {
    let mut server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "0s").start().await;
    let mut idle = Import::begin(&server, &id(900), upsert()).await;
    idle.batch(1, &rows(1..=1)).await.expect("a batch");
    // A stream that hasn't sent its first message yet.
    let mut bare = Import::bare(&server, Request::new(())).await;
    server.signal(Signal::TERM);
    let refused = refusal(idle.acknowledgement().await);
    refused.is(Code::Unavailable, "SHUTTING_DOWN", &[]);
    let refused = refusal(bare.acknowledgement().await);
    refused.is(Code::Unavailable, "SHUTTING_DOWN", &[]);
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.took.at_most(Duration::from_secs(10)), "it took {:?}", ended.took);
    let cut = server.logs().so_far().iter().any(|line| line.contains("calls_cut"));
    assert!(!cut, "no call was cut");
    let server = TestServer::builder(engine).on(server.database()).start().await;
    assert_eq!(count(&server).await, 1);
}

/// A batch in flight when the service gets SIGTERM is acknowledged first.
#[tokio::test]
async fn stop_during_an_import_batch_acknowledges_it_first() {
    let mut server =
        TestServer::builder(Engine::Postgres).env("SHUTDOWN_PAUSE", "0s").start().await;
    let database = server.database();
    import(&server, json!({}), &rows(1..=2)).await;
    let held = Held::books(&database).await;
    let mut busy = Import::begin(&server, &id(900), upsert()).await;
    busy.send(json!({"batch": {"number": 1, "rows": rows(1..=3)}})).await;
    waits_for_lock(&database).await;
    server.signal(Signal::TERM);
    until("the port is closed", SOON, async || !can_connect(&server).await).await;
    held.release().await;
    let answer = busy.acknowledgement().await.expect("the batch in flight");
    assert_eq!((answer.inserted, answer.updated), (1, 2));
    let refused = refusal(busy.acknowledgement().await);
    refused.is(Code::Unavailable, "SHUTTING_DOWN", &[]);
    assert_eq!(server.ended().await.status.code(), Some(0));
    assert_eq!(database.value("SELECT count(*) FROM books").await, "3");
}

/// The batch of a cancelled call is written completely. Sent again, it is acknowledged as a
/// repetition.
#[tokio::test]
async fn cancelled_import_leaves_whole_batches() {
    let server = TestServer::start(Engine::Postgres).await;
    let database = server.database();
    import(&server, json!({}), &rows(1..=2)).await;
    let held = Held::books(&database).await;
    let mut left = Import::begin(&server, &id(900), upsert()).await;
    left.send(json!({"batch": {"number": 1, "rows": rows(1..=3)}})).await;
    waits_for_lock(&database).await;
    drop(left);
    server.logs().wait_for(|line| line.contains("\"CANCELLED\"")).await;
    let mut again = Import::begin(&server, &id(900), upsert()).await;
    again.send(json!({"batch": {"number": 1, "rows": rows(1..=3)}})).await;
    held.release().await;
    let answer = again.acknowledgement().await.expect("the first client's outcome");
    assert_eq!((answer.inserted, answer.updated), (1, 2));
    again.end(1, 3).await.expect("an end");
    let versions = "SELECT string_agg(version::text, ' ' ORDER BY id) FROM books";
    assert_eq!(database.value(versions).await, "2 2 1");
}

/// A step that can't be done in time ends the stream at its deadline. The import can be resumed
/// later.
#[tokio::test]
async fn import_and_export_at_a_held_lock_end_in_time() {
    let server = TestServer::start(Engine::Postgres).await;
    let database = server.database();
    import(&server, json!({}), &rows(1..=2)).await;
    let limit = Duration::from_millis(1_500);
    let mut request = Request::new(());
    request.set_timeout(limit);
    let mut blocked = Import::bare(&server, request).await;
    blocked.send(options(900)).await;
    blocked.batch(1, &rows(4..=5)).await.expect("books that are not locked");
    let held = Held::table(&database).await;
    blocked.send(json!({"batch": {"number": 2, "rows": rows(1..=3)}})).await;
    let mut export = Request::new(ExportBooksRequest::default());
    export.set_timeout(limit);
    let mut reader = BookTransferServiceClient::new(raw(server.address()).await);
    let watch = Stopwatch::start();
    let mut export = reader.export_books(export).await.expect("a stream").into_inner();
    let ends = async { (export.message().await, blocked.acknowledgement().await) };
    let (export, blocked) = tokio::time::timeout(SOON, ends).await.expect("two streams that end");
    for refused in [refusal(export), refusal(blocked)] {
        refused.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
    }
    let took = watch.stop();
    assert!(took.at_most(limit * 3), "after {took:?}");
    held.release().await;
    is_idle(&database).await;
    assert_eq!(count(&server).await, 4);
    let mut again = Import::begin(&server, &id(900), upsert()).await;
    let answer = again.batch(2, &rows(1..=3)).await.expect("a batch");
    assert_eq!((answer.inserted, answer.updated), (1, 2));
    again.end(1, 3).await.expect("an end");
}

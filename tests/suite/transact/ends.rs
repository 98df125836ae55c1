//! Transactions that their callers don't end: by timeout, by the limit, by a closed connection.

use std::time::{Duration, Instant};

use bookstore_proto::v1::{
    Begin, GetBookRequest, Savepoint, TransactRequest, transact_request::Step,
    transact_response::Step as Answer,
};
use bookstore_tests::{Engine, Line, Replicated, Stopwatch, TestServer, on_every_engine, until};
use prost::Message;
use prost_types::Any;
use serde_json::json;
use tonic::Code;

use super::{CREATE, GET, Led, a_new_book, books};
use crate::{
    abuse::{endless, framed, narrow, request},
    bad_input::{descriptor, send},
    client::{self, Refusal, a_book, id},
    lifecycle::{Held, SOON, waits_for_lock},
    standard::{answer, refusal},
};

on_every_engine!(
    silent_or_slow_caller_is_rolled_back,
    call_deadline_ends_the_transaction,
    led_transactions_over_the_limit_are_refused
);

async fn silent_or_slow_caller_is_rolled_back(engine: Engine) {
    let server = TestServer::builder(engine).env("TRANSACTION_IDLE_TIMEOUT", "500ms").start().await;
    let mut led = Led::begun(&server).await;
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    let watch = Stopwatch::start();
    let status = led.answers.message().await.expect_err("the stream has ended");
    Refusal::from(&status).is(Code::Aborted, "TRANSACTION_TIMEOUT", &[]);
    let took = watch.stop();
    assert!(took.at_most(Duration::from_secs(3)), "{took:?}");

    // Never silent for long, but open for longer than it asked for.
    let mut led = Led::open(&server, None).await;
    let asked = Begin { timeout_ms: 700, ..Begin::default() };
    let begun = led.step(Step::Begin(asked)).await;
    assert!(matches!(&begun, Ok(Answer::Begun(begun)) if begun.timeout_ms <= 700), "{begun:?}");
    led.call(CREATE, a_new_book(2)).await.expect("a book");
    let (began, watch) = (Instant::now(), Stopwatch::start());
    let refused = loop {
        match led.call(GET, json!({"id": id(2)})).await {
            Ok(_) => assert!(began.elapsed() < SOON, "it continues"),
            Err(refused) => break refused,
        }
    };
    refused.is(Code::Aborted, "TRANSACTION_TIMEOUT", &[]);
    let took = watch.stop();
    assert!(took.at_most(Duration::from_secs(3)), "{took:?}");
    assert_eq!(books(&server).await, "0");
}

/// The connection has no client-side deadline, so the error is the service's: for a silent caller
/// and for a waiting statement.
async fn call_deadline_ends_the_transaction(engine: Engine) {
    let server = TestServer::start(engine).await;
    // On SQLite shorter than a caller may be silent.
    let (limit, metadata) = match engine {
        Engine::Sqlite => (Duration::from_millis(450), "450m"),
        Engine::Postgres => (Duration::from_millis(1500), "1500m"),
    };
    let open = async || {
        let watch = Stopwatch::start();
        let mut led = Led::open_with(server.address(), &[("grpc-timeout", metadata)]).await;
        led.step(Step::Begin(Begin::default())).await.expect("a transaction");
        led.call(CREATE, a_new_book(1)).await.expect("a book");
        (watch, led)
    };
    let ended = |watch: Stopwatch, refused: Refusal| {
        refused.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
        let took = watch.stop();
        assert!(took.at_least(limit) && took.at_most(limit * 5), "after {took:?}");
    };
    let (watch, mut led) = open().await;
    let status = led.answers.message().await.expect_err("an expired deadline");
    ended(watch, Refusal::from(&status));
    assert_eq!(books(&server).await, "0");
    if engine == Engine::Postgres {
        let mut other = Led::begun(&server).await;
        other.call(CREATE, a_new_book(2)).await.expect("a book");
        let (watch, mut led) = open().await;
        // The other transaction holds the lock and stays open.
        ended(watch, led.call(CREATE, a_new_book(2)).await.expect_err("an expired deadline"));
        other.commit().await.expect("a commit");
        assert_eq!(books(&server).await, "1");
    }
}

async fn led_transactions_over_the_limit_are_refused(engine: Engine) {
    let server = TestServer::builder(engine)
        .env("DATABASE_POOL_SIZE", "2")
        .env("DATABASE_MAX_OVERFLOW", "0")
        .env("TRANSACTION_WAIT", "100ms")
        .start()
        .await;
    let mut first = Led::begun(&server).await;
    let mut second = Led::open(&server, None).await;
    let status =
        second.step(Step::Begin(Begin::default())).await.expect_err("a transaction over the limit");
    Refusal::from(&status).is(Code::ResourceExhausted, "TRANSACTION_LIMIT", &[]);
    // The other half of the connections serves all other calls.
    let missing = refusal(&server, GET, json!({"id": id(1)})).await;
    missing.is_missing(&["id"]);
    first.call(CREATE, a_new_book(1)).await.expect("a book");
    first.commit().await.expect("a commit");
    Led::begun(&server).await.commit().await.expect("a free slot");
}

/// A killed caller leaves no session in a transaction. It sends no termination: its connection is
/// closed, as the kernel closes those of a killed process.
#[tokio::test]
async fn killed_caller_leaves_no_open_transaction() {
    // Neither the transaction's timeout nor the lock timeout ends it first.
    let soon = Duration::from_secs(30);
    let server = TestServer::builder(Engine::Postgres).env("TRANSACTION_TIMEOUT", "1m");
    let server = server.env("TRANSACTION_IDLE_TIMEOUT", "1m").start().await;
    let database = server.database();
    let open = async || {
        // Of callers: those of probes and of health write no books.
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'bookstore' AND xact_start IS NOT NULL \
                   AND query LIKE 'INSERT INTO \"books\"%'";
        database.value(sql).await
    };
    let killed = async || {
        let line = Line::to_service(server.address()).await;
        let near = line.url().trim_start_matches("http://").parse().expect("an address");
        (line, Led::begun_at(near).await)
    };
    let mut took = Vec::new();
    for _ in 0..10 {
        let (line, mut led) = killed().await;
        led.call(CREATE, a_new_book(1)).await.expect("a book");
        // A statement of the service's own may be open for a moment.
        until("it alone is open", soon, async || open().await == "1").await;
        let watch = Stopwatch::start();
        line.cut();
        until("no transaction is open", soon, async || open().await == "0").await;
        took.push(watch.stop());
    }
    // Other tests' load may affect any single one of them.
    assert!(took.iter().any(|took| took.at_most(Duration::from_millis(100))), "after {took:?}");
    // In a statement that waits for a held lock.
    let held = Held::table(&database).await;
    let (line, mut led) = killed().await;
    let step = led.call(CREATE, a_new_book(1));
    tokio::select! {
        _ = step => panic!("the table is locked"),
        () = waits_for_lock(&database) => {}
    }
    line.cut();
    until("only the test's transaction is open", soon, async || open().await == "0").await;
    held.release().await;
    assert_eq!(books(&server).await, "0");
}

/// A commit that takes longer than the transaction may be open is not rolled back. Here it waits
/// for a paused replica.
#[tokio::test]
async fn commit_slower_than_the_transaction_limit_is_waited_for() {
    let cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres).url(&cluster.url("bookstore_app", 0));
    let server = server.start().await;
    let all = "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()";
    cluster.execute(0, all).await;
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    until("commits wait for the replica", SOON, async || {
        cluster.value(0, synchronous).await == "1"
    })
    .await;
    let mut led = Led::open(&server, None).await;
    led.step(Step::Begin(Begin { timeout_ms: 2000, ..Begin::default() }))
        .await
        .expect("a transaction");
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    cluster.freeze(1);
    let thaw = async {
        // A second longer than the transaction may be open.
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.thaw(1);
    };
    let (committed, ()) = tokio::join!(led.commit(), thaw);
    committed.expect("a commit");
    assert_eq!(cluster.value(0, "SELECT count(*) FROM books").await, "1");
}

/// A caller that doesn't read its answers doesn't hold its locks any longer: other writes continue.
#[tokio::test]
async fn caller_that_reads_no_answers_is_ended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut book = a_new_book(1);
    book["book"]["description"] = json!("x".repeat(10_000));
    answer(&server, CREATE, book).await;
    let led = Led::begun(&server).await;
    let get = GetBookRequest { id: id(1), ..GetBookRequest::default() };
    let get = Any::from_msg(&get).expect("a message");
    // More than the HTTP/2 window of a caller that doesn't read.
    for _ in 0..900 {
        let step = TransactRequest { step: Some(Step::Request(get.clone())) };
        drop(led.steps.send(step).await);
    }
    until("others write", SOON, async || {
        let other = client::create("", client::a_book("Dune"));
        client::books(&server).create_book(other).await.is_ok()
    })
    .await;
}

/// Reads in a transaction until it is ended for its timeout.
async fn until_it_times_out(led: &mut Led) {
    let began = Instant::now();
    let refused = loop {
        match led.call(GET, json!({"id": id(1)})).await {
            Ok(_) => assert!(began.elapsed() < SOON, "it goes on"),
            Err(refused) => break refused,
        }
    };
    refused.is(Code::Aborted, "TRANSACTION_TIMEOUT", &[]);
}

/// On SQLite a transaction holds the only connection that writes. It works without a pause, and
/// ends as soon as another write waits for longer than a caller may be silent.
#[tokio::test]
async fn a_transaction_on_sqlite_yields_to_others() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut led = Led::begun(&server).await;
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    let (channel, watch) = (server.channel(), Stopwatch::start());
    let request = json!({"book": a_book("Dune")});
    let body = client::dynamic(descriptor(CREATE).input(), request).encode_to_vec();
    let other = tokio::spawn(async move {
        let answer = send(channel, "/bookstore.v1.BookService/CreateBook", body, &[]).await;
        (answer.map(drop), watch.stop())
    });
    until_it_times_out(&mut led).await;
    let (answer, took) = other.await.expect("no panic");
    answer.expect("a book of another caller");
    assert!(took.at_most(Duration::from_secs(2)), "{took:?}");
}

/// On SQLite a transaction ends for one that waits to begin, too.
#[tokio::test]
async fn a_transaction_on_sqlite_yields_to_another_one() {
    let server = TestServer::builder(Engine::Sqlite).env("TRANSACTION_WAIT", "3s").start().await;
    let mut led = Led::begun(&server).await;
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    let address = server.address();
    let other = tokio::spawn(Led::begun_at(address));
    until_it_times_out(&mut led).await;
    let mut other = other.await.expect("it has begun");
    other.call(CREATE, a_new_book(2)).await.expect("a book");
    other.commit().await.expect("a commit");
    assert_eq!(books(&server).await, "1");
}

/// The transport holds one answer that the caller doesn't take, and one more waits for it. No
/// further step is carried out until the caller takes one, and meanwhile the caller is idle.
#[tokio::test]
async fn a_step_waits_while_answers_are_not_taken() {
    let server = TestServer::builder(Engine::Postgres).env("DATABASE_ECHO", "true");
    let server = server.env("DATABASE_POOL_SIZE", "2").env("DATABASE_MAX_OVERFLOW", "0");
    let server = server.env("TRANSACTION_TIMEOUT", "1m").env("TRANSACTION_WAIT", "20s");
    let server = server.start().await;
    let statements = |part: &str| {
        let lines = server.logs().json().into_iter();
        lines.filter(|line| line["sql"].as_str().is_some_and(|sql| sql.contains(part))).count()
    };
    let inserts = || statements(r#"INSERT INTO "books""#);
    let create = |number| {
        let request = client::dynamic(descriptor(CREATE).input(), a_new_book(number));
        let type_url = "type.googleapis.com/bookstore.v1.CreateBookRequest".to_owned();
        Step::Request(Any { type_url, value: request.encode_to_vec() })
    };
    let steps = [Step::Begin(Begin::default()), create(1), create(2)];
    let message = |step| framed(&TransactRequest { step: Some(step) }.encode_to_vec());
    let (sender, body) = endless();
    sender.send(Ok(steps.map(message).concat())).await.expect("a body that is read");
    let mut connection = narrow(server.address(), 0).await;
    let path = format!("http://{}/bookstore.v1.TransactionService/Transact", server.address());
    let unread = connection.send_request(request(&path, body)).await.expect("a stream");
    until("it has begun", SOON, async || statements("BEGIN") == 1).await;
    // There is one slot. Without the idle time it would be free only after a minute.
    let mut other = Led::begun(&server).await;
    assert_eq!(inserts(), 1, "the answer to the last step has no room");
    other.call(CREATE, a_new_book(3)).await.expect("a book");
    until("a step is logged", SOON, async || inserts() == 2).await;
    drop((unread, sender));
}

/// Savepoints don't renew the idle time. The pause paces them below their limit in number.
#[tokio::test]
async fn savepoints_do_not_keep_a_transaction_open() {
    let server = TestServer::builder(Engine::Postgres).env("TRANSACTION_IDLE_TIMEOUT", "500ms");
    let server = server.start().await;
    let mut led = Led::begun(&server).await;
    let watch = Stopwatch::start();
    let status = loop {
        match led.step(Step::Savepoint(Savepoint { name: "s".to_owned() })).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(status) => break status,
        }
    };
    Refusal::from(&status).is(Code::Aborted, "TRANSACTION_TIMEOUT", &[]);
    let took = watch.stop();
    assert!(took.at_most(Duration::from_secs(2)), "{took:?}");
}

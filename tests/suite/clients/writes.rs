//! Writes over connections that break and to services that are killed: each is applied once.

use std::{sync::Arc, time::Duration};

use bookstore_client::{CallOptions, Client, Error, IntoCall, Uuid, v1};
use bookstore_tests::{Database, Engine, Line, Origin, TestServer, on_every_engine, until};
use prost::Message;
use serde_json::json;
use tokio::task::JoinHandle;
use tonic::{Code, Response};

use super::{SOON, assert_orders, connect, fill, order};
use crate::{bad_input::send, client};

on_every_engine!(
    write_with_a_lost_answer_is_applied_once,
    orders_are_placed_once_when_the_service_is_killed,
    orders_are_placed_once_over_broken_connections,
    repeated_write_without_a_key_is_refused,
    client_learns_the_outcome_of_a_write,
);

async fn write_with_a_lost_answer_is_applied_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let line = Line::to_service(server.address()).await;
    let client = connect(line.url());
    fill(&client).await;
    line.freeze_at(b"1 Lost Street");
    let mut orders = client.orders();
    let placed: JoinHandle<Result<Response<v1::Order>, _>> =
        tokio::spawn(async move { orders.place_order(order("1 Lost Street")).await });
    // The order is placed although its caller doesn't know yet.
    until("the order is placed", SOON, async || {
        server.database().value("SELECT count(*) FROM orders").await == "1"
    })
    .await;
    cut_and_wait(&line, &client).await;
    assert!(!placed.is_finished());
    line.restore();
    let answer = placed.await.expect("no panic").expect("an order");
    let metadata = answer.metadata();
    assert_eq!(metadata.get("idempotent-replay").expect("a stored answer"), "true");
    let previous = metadata.get("grpc-previous-rpc-attempts").expect("a second attempt");
    assert_eq!(previous, "1");
    assert_orders(&server, 1).await;
}

/// Cuts a client's only connection, and waits until the client notices.
pub(super) async fn cut_and_wait(line: &Line, client: &Client) {
    line.cut();
    until("the client has lost its connection", SOON, async || {
        client.ready(Duration::ZERO).await.is_err()
    })
    .await;
}

/// The service keeps its address: a Unix domain socket.
async fn orders_are_placed_once_when_the_service_is_killed(engine: Engine) {
    const CALLERS: usize = 4;
    const ORDERS: usize = 25;
    const KILLS: usize = 3;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("bookstore.sock");
    let database = Arc::new(Database::create(engine, Origin::Migrated).await);
    let start = || TestServer::builder(engine).on(Arc::clone(&database)).unix(&socket).start();
    let mut server = start().await;
    let client = connect(format!("unix:{}", socket.display()));
    fill(&client).await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut attempts = 0;
                for number in 0..ORDERS {
                    attempts += place(&client, caller, number).await;
                }
                attempts
            })
        })
        .collect();
    for kill in 1..=KILLS {
        until("some orders are placed", SOON, async || {
            let placed = database.value("SELECT count(*) FROM orders").await;
            placed.parse::<usize>().expect("a count") >= kill * 15
        })
        .await;
        server.kill().await;
        server = start().await;
    }
    let mut attempts = 0;
    for caller in callers {
        attempts += caller.await.expect("a caller that places its orders");
    }
    assert!(attempts > CALLERS * ORDERS, "no call was interrupted, so the test proves nothing");
    assert_orders(&server, CALLERS * ORDERS).await;
}

/// Every connection carries a few orders at most, and breaks anywhere in requests and answers.
async fn orders_are_placed_once_over_broken_connections(engine: Engine) {
    const ORDERS: usize = 60;
    let server = TestServer::start(engine).await;
    fill(&connect(super::url(&server))).await;
    let line = Line::breaking(server.address(), 4_000).await;
    let client = connect(line.url());
    let mut attempts = 0;
    for number in 0..ORDERS {
        attempts += place(&client, 0, number).await;
    }
    assert!(attempts > ORDERS, "no connection broke, so the test proves nothing");
    assert_orders(&server, ORDERS).await;
}

/// Places an order, with one key for all attempts; returns the number of attempts.
async fn place(client: &Client, caller: usize, number: usize) -> usize {
    let key = Uuid::new_v4();
    let address = format!("{number} Quiet Street, {caller}");
    let mut attempts = 0;
    loop {
        let call = order(&address).into_call().idempotency_key(key);
        match client.orders().place_order(call).await {
            Ok(answer) => {
                let previous = answer.metadata().get("grpc-previous-rpc-attempts");
                let previous = previous.expect("the earlier attempts").to_str().expect("ASCII");
                return attempts + previous.parse::<usize>().expect("a number") + 1;
            }
            Err(status) => {
                let error = Error::from(status);
                assert!(error.is_transient(), "{error:?}");
                assert_eq!(error.idempotency_key(), Some(key));
                attempts += usize::try_from(error.attempts()).expect("a number");
            }
        }
    }
}

/// Libraries that retry by the service config don't know whether a call has a key. The service
/// does, so it refuses retries without one.
async fn repeated_write_without_a_key_is_refused(engine: Engine) {
    const CREATE: &str = "/bookstore.v1.BookService/CreateBook";
    const AGAIN: (&str, &str) = ("grpc-previous-rpc-attempts", "1");
    let server = TestServer::start(engine).await;
    let body = client::create(&client::id(1), client::a_book("Dune")).encode_to_vec();
    let count = async || server.database().value("SELECT count(*) FROM books").await;
    let refused = send(server.channel(), CREATE, body.clone(), &[AGAIN]).await;
    let refused = refused.expect_err("an unknown outcome");
    let pushback = refused.metadata().get("grpc-retry-pushback-ms").expect("a pushback");
    assert_eq!(pushback, "-1");
    client::Refusal::from(&refused).is(Code::Unknown, "COMMIT_OUTCOME_UNKNOWN", &[]);
    assert_eq!(count().await, "0");
    let key = Uuid::new_v4().to_string();
    let with_key = [AGAIN, ("idempotency-key", key.as_str())];
    send(server.channel(), CREATE, body, &with_key).await.expect("a book");
    assert_eq!(count().await, "1");
    // Idempotent methods may be retried without a key.
    let get = v1::GetBookRequest { id: client::id(1), ..Default::default() }.encode_to_vec();
    send(server.channel(), "/bookstore.v1.BookService/GetBook", get, &[AGAIN])
        .await
        .expect("a read");
    let ask = v1::GetOutcomeRequest { idempotency_key: key, fence: true }.encode_to_vec();
    send(server.channel(), "/bookstore.v1.TransactionService/GetOutcome", ask, &[AGAIN])
        .await
        .expect("an outcome");
}

async fn client_learns_the_outcome_of_a_write(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = connect(super::url(&server));
    fill(&client).await;
    let (key, other) = (Uuid::new_v4(), Uuid::new_v4());
    let call = order("1 Quiet Street").into_call().idempotency_key(key);
    let placed = client.orders().place_order(call).await.expect("an order").into_inner();
    let (outcome, response) = client.outcome(key, false).await.expect("an outcome");
    assert_eq!(outcome, v1::Outcome::Committed);
    let response: v1::Order =
        bookstore_client::from_any(&response.expect("its response")).expect("the order");
    assert_eq!(response, placed);
    let (outcome, response) = client.outcome(other, false).await.expect("an outcome");
    assert_eq!((outcome, response), (v1::Outcome::NotFound, None));
    let (outcome, _) = client.outcome(other, true).await.expect("an outcome");
    assert_eq!(outcome, v1::Outcome::Aborted);
    let call = order("2 Quiet Street").into_call().idempotency_key(other);
    let fenced = Error::from(client.orders().place_order(call).await.expect_err("a fence"));
    assert!(fenced.is(v1::ErrorReason::KeyFenced) && !fenced.may_have_happened(), "{fenced:?}");
    assert_eq!(fenced.attempts(), 1, "a fenced write must not be retried");
    assert_orders(&server, 1).await;
    // The same with a key that the client has made.
    let answer = client.orders().place_order(order("3 Quiet Street")).await.expect("an order");
    let key = answer.metadata().get("idempotency-key").expect("a key").to_str().expect("ASCII");
    let (outcome, _) =
        client.outcome(key.parse().expect("a UUID"), false).await.expect("an outcome");
    assert_eq!(outcome, v1::Outcome::Committed);
}

/// Without an answer the deadline ends the call. Its error has the key for a retry.
#[tokio::test]
async fn write_past_its_deadline_returns_its_key() {
    let server = TestServer::start(Engine::Sqlite).await;
    let line = Line::to_service(server.address()).await;
    let client = connect(line.url());
    fill(&client).await;
    line.freeze();
    let began = std::time::Instant::now();
    let call = order("1 Quiet Street").into_call().deadline(Duration::from_millis(300));
    let error = Error::from(client.orders().place_order(call).await.expect_err("a frozen line"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(error.reason(), &bookstore_client::Reason::Transport);
    assert!(error.is_transient() && error.may_have_happened(), "{error:?}");
    assert_eq!(error.attempts(), 1);
    assert!(error.request_id().is_some());
    let key = error.idempotency_key().expect("a key");
    line.restore();
    let call = order("1 Quiet Street").into_call().idempotency_key(key);
    client.orders().place_order(call).await.expect("an order");
    assert_orders(&server, 1).await;
    // The client's default deadline.
    line.freeze();
    let hasty = bookstore_client::ClientOptions::new([line.url()]);
    let hasty = hasty.timeout(Duration::from_millis(200)).connect().expect("an address");
    let list = client::message::<v1::ListBooksRequest>(json!({}));
    let error = Error::from(hasty.books().list_books(list).await.expect_err("no connection"));
    assert_eq!((error.code(), error.attempts()), (Code::DeadlineExceeded, 0));
    assert!(!error.may_have_happened());
}

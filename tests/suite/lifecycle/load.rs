//! More calls than the limit: which wait, which are refused, and which always run.

use bookstore_proto::v1::{
    GetBookRequest, ListBooksRequest, book_service_client::BookServiceClient,
};
use bookstore_tests::{Engine, TestServer, raw, until};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;

use super::{Held, SOON, health, refusal, waits_for_lock};
use crate::{admin, bad_input, client};

/// How long a call waits for a permit, in milliseconds.
const WAIT: f64 = 1_000.0;

/// How long the service had a call, by its own clock, in milliseconds.
fn took(status: &Status) -> f64 {
    let timing = status.metadata().get("server-timing").and_then(|it| it.to_str().ok());
    let total = timing.and_then(|it| it.split_once("total;dur="));
    total.and_then(|(_, total)| total.parse().ok()).expect("a time")
}

async fn busy(waiting: &str) -> TestServer {
    let server = TestServer::builder(Engine::Postgres).env("MAX_CALLS", "1");
    server.env("MAX_CALLS_WAITING", waiting).env("ADMIN_ADDR", "127.0.0.1:0").start().await
}

#[tokio::test]
async fn calls_over_the_limit_are_refused_and_probes_are_not() {
    let server = busy("0").await;
    let database = server.database();
    let held = Held::table(&database).await;
    let mut books = client::books(&server);
    let first = tokio::spawn(async move { books.list_books(ListBooksRequest::default()).await });
    waits_for_lock(&database).await;
    for _ in 0..3 {
        let second = client::books(&server).list_books(ListBooksRequest::default()).await;
        let status = second.expect_err("a call over the limit");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(refusal(&status), ("OVERLOADED".to_owned(), true));
        assert!(took(&status) < WAIT, "without a queue: {status:?}");
    }
    for name in ["live", "ready", ""] {
        assert_eq!(health(server.channel(), name).await, ServingStatus::Serving);
    }
    // Field 7 asks for the list of services.
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    bad_input::send(server.channel(), path, vec![0x3a, 0], &[]).await.expect("reflection");
    held.release().await;
    first.await.expect("no panic").expect("a list");
    client::books(&server).list_books(ListBooksRequest::default()).await.expect("a free slot");
}

#[tokio::test]
async fn call_over_the_limit_waits_for_a_permit() {
    let server = busy("1").await;
    let (database, address) = (server.database(), server.admin_address().await);
    let held = Held::table(&database).await;
    let get = || GetBookRequest { id: client::id(1), ..Default::default() };
    let call = || {
        let mut books = client::books(&server);
        let request = get();
        tokio::spawn(async move { books.get_book(request).await })
    };
    let first = call();
    waits_for_lock(&database).await;
    let second = call();
    until("the second migrator waits", SOON, async || {
        admin::get(address, "/calls").await.1.contains("\"waiting\":1")
    })
    .await;
    let third = call().await.expect("no panic").expect_err("the queue is full");
    assert_eq!(refusal(&third).0, "OVERLOADED");
    assert!(took(&third) < WAIT, "the queue has one slot: {third:?}");
    // While the first call runs, the wait ends after this second.
    let second = second.await.expect("no panic").expect_err("no permit");
    assert_eq!(refusal(&second).0, "OVERLOADED");
    assert!(took(&second) >= WAIT, "it waited for a permit: {second:?}");
    let mut request = Request::new(get());
    request.set_timeout(std::time::Duration::from_millis(100));
    let late = BookServiceClient::new(raw(server.address()).await).get_book(request).await;
    assert_eq!(late.expect_err("no permit").code(), Code::DeadlineExceeded);
    let next = call();
    until("the next migrator waits", SOON, async || {
        admin::get(address, "/calls").await.1.contains("\"waiting\":1")
    })
    .await;
    held.release().await;
    for call in [first, next] {
        let status = call.await.expect("no panic").expect_err("there is no such book");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
    }
}

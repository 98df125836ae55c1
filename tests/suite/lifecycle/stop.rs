//! The stop: by SIGTERM and Ctrl-C, with calls and idle peers, and by a second signal.

use std::time::Duration;

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Engine, Signal, TestServer, on_every_engine, until};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{Held, SOON, Watch, can_connect, restock, stock, waits_for_lock, with_a_book};
use crate::client;

/// The limit of the end beyond the pause and the calls that it waits for.
const AT_ONCE: Duration = Duration::from_secs(10);

on_every_engine!(
    sigterm_drains_and_ends_the_service,
    sigint_ends_the_service_without_a_pause,
    second_signal_ends_the_service_at_once
);

/// Idle peers, which must not delay the stop.
struct Idle {
    watch: Watch,
    _silent: TcpStream,
}

impl Idle {
    async fn at(server: &TestServer) -> Self {
        let watch = Watch::of(server.channel(), "").await;
        // The channel stays open after its call.
        let list = client::books(server).list_books(ListBooksRequest::default()).await;
        list.expect("a list");
        Self { watch, _silent: TcpStream::connect(server.address()).await.expect("a connection") }
    }
}

/// Balancers see NOT_SERVING while the service still serves, on new connections too.
async fn sigterm_drains_and_ends_the_service(engine: Engine) {
    let mut server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "1500ms").start().await;
    let mut idle = Idle::at(&server).await;
    idle.watch.sees(ServingStatus::Serving, SOON).await;
    server.signal(Signal::TERM);
    idle.watch.sees(ServingStatus::NotServing, SOON).await;
    let late = Endpoint::from_shared(format!("http://{}", server.address())).expect("an address");
    let late = late.connect().await.expect("a connection during the pause");
    let list = client::Books::new(late).list_books(ListBooksRequest::default()).await;
    list.expect("a call during the pause");
    let last = idle.watch.0.message().await.expect("a watch that ends well");
    assert_eq!(last, None);
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.took.at_most(AT_ONCE), "it took {:?}", ended.took);
    assert!(!can_connect(&server).await);
}

/// A person waits for the end, so there is no pause.
async fn sigint_ends_the_service_without_a_pause(engine: Engine) {
    let mut server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "5m").start().await;
    let _idle = Idle::at(&server).await;
    server.signal(Signal::INT);
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.took.at_most(AT_ONCE), "it took {:?}", ended.took);
}

async fn second_signal_ends_the_service_at_once(engine: Engine) {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut server = TestServer::builder(engine).env("SHUTDOWN_PAUSE", "5m").start().await;
        server.signal(Signal::TERM);
        server.logs().wait_for(|line| line.contains("\"stopping\"")).await;
        server.signal(second);
        let ended = server.ended().await;
        assert_eq!(ended.status.code(), Some(code));
        assert!(ended.took.at_most(AT_ONCE), "it took {:?}", ended.took);
    }
}

#[tokio::test]
async fn stop_answers_the_call_in_flight() {
    let server = TestServer::builder(Engine::Postgres).env("SHUTDOWN_PAUSE", "0s");
    let mut server = server.start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let held = Held::books(&database).await;
    let mut books = client::books(&server);
    let call = tokio::spawn(async move { books.update_book(restock(&id, 5)).await });
    waits_for_lock(&database).await;
    server.signal(Signal::TERM);
    until("the port is closed", SOON, async || !can_connect(&server).await).await;
    assert!(!call.is_finished());
    held.release().await;
    let answer = call.await.expect("no panic").expect("the answer of a call in flight");
    assert_eq!(answer.into_inner().stock, 5);
    assert_eq!(server.ended().await.status.code(), Some(0));
    assert_eq!(stock(&database).await, "5");
}

#[tokio::test]
async fn stop_cuts_a_call_at_the_drain_timeout() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reason");
    let server = TestServer::builder(Engine::Postgres)
        .env("SHUTDOWN_PAUSE", "0s")
        .env("SHUTDOWN_TIMEOUT", "500ms")
        .env("TERMINATION_LOG", path.to_str().expect("a path as text"));
    let mut server = server.start().await;
    let (id, database) = (with_a_book(&server).await, server.database());
    let held = Held::books(&database).await;
    let mut books = client::books(&server);
    let call = tokio::spawn(async move { books.update_book(restock(&id, 5)).await });
    waits_for_lock(&database).await;
    let ended = server.terminate().await;
    assert_eq!(ended.status.code(), Some(1), "one call was cut");
    let message = super::socket::reason(&path);
    assert_eq!(message["exit_code"], 1, "{message}");
    let reason = "calls were in flight after shutdown_timeout: 1 cancelled";
    assert_eq!(message["reason"], reason, "{message}");
    assert!(ended.took.at_least(Duration::from_millis(500)), "it took only {:?}", ended.took);
    assert!(ended.took.at_most(AT_ONCE), "it took {:?}", ended.took);
    server.logs().wait_for(|line| line.contains("\"calls_cut\":1")).await;
    call.await.expect("no panic").expect_err("a call that was cut");
    held.release().await;
    super::is_idle(&database).await;
    assert_eq!(stock(&database).await, "0", "the cut write is rolled back");
}

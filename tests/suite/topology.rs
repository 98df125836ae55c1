//! The topology of the nodes: the admin view, and calls while it is incomplete.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bookstore_proto::v1::{GetBookRequest, book_service_client::BookServiceClient};
use bookstore_tests::{Engine, Replicated, SOON, TestServer, raw, until};
use futures_util::future::join_all;
use serde_json::Value;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::{admin, client};

/// Waits until the admin view of a node matches.
async fn until_node(address: SocketAddr, node: &str, what: &str, fits: impl Fn(&Value) -> bool) {
    until(what, SOON, async || {
        let topology = admin::get_json(address, "/topology").await;
        topology.as_array().expect("a list").iter().any(|it| it["node"] == node && fits(it))
    })
    .await;
}

#[tokio::test]
async fn topology_shows_roles_lag_and_failures() {
    let cluster = Replicated::start(1).await;
    // The cluster trusts every connection, so any password works.
    let urls = cluster.urls("bookstore_app:not-for-operators");
    let server = TestServer::builder(Engine::Postgres).url(&urls).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = server.start().await;
    let address = server.admin_address().await;
    let (primary, replica) = (cluster.name(0), cluster.name(1));
    until_node(address, &primary, "the primary is shown", |node| node["role"] == "primary").await;
    until_node(address, &replica, "a replica that lags by nothing is shown", |node| {
        node["role"] == "replica" && node["lag_ms"] == 0 && node["lag_bytes"] == 0
    })
    .await;
    let (_, text) = admin::get(address, "/topology").await;
    assert!(!text.contains("not-for-operators"), "{text}");
    let topology: Value = serde_json::from_str(&text).expect("JSON");
    for node in topology.as_array().expect("a list") {
        assert_eq!(node["timeline"], 1, "{node}");
        assert_eq!(node["ejected"], false, "{node}");
        assert!(node["used"].is_u64(), "{node}");
    }
    // The server writes WAL in the background, so the comparison is repeated until it holds.
    until("the positions are those of the server", SOON, async || {
        let position = cluster.value(1, "pg_last_wal_replay_lsn()").await;
        let topology = admin::get_json(address, "/topology").await;
        let nodes = topology.as_array().expect("a list");
        nodes.iter().all(|node| node["position"] == position.as_str())
    })
    .await;

    // The node answers nothing and closes nothing: the read times out there and moves to another
    // node.
    cluster.freeze(1);
    let mut books = client::books(&server);
    let id = "01930000-0000-7000-8000-000000000001".to_owned();
    let mut read = Request::new(GetBookRequest { id, ..GetBookRequest::default() });
    read.metadata_mut().insert("consistency", "eventual".parse().expect("ASCII"));
    books.get_book(read).await.expect_err("no such book");
    until_node(address, &replica, "an unreachable, ejected node is shown", |node| {
        node["role"] == "gone" && node["ejected"] == true && node["lag_ms"].is_null()
    })
    .await;
    cluster.thaw(1);
    until_node(address, &replica, "the node is back", |node| {
        node["role"] == "replica" && node["ejected"] == false
    })
    .await;

    cluster.delay(1, Duration::from_mins(1)).await;
    books.create_book(client::create("", client::a_book("Dune"))).await.expect("a book");
    until_node(address, &replica, "a replica that lags is shown", |node| {
        let above = |field: &str| node[field].as_u64().is_some_and(|value| value > 0);
        node["role"] == "replica" && above("lag_ms") && above("lag_bytes")
    })
    .await;
}

/// A single node isn't followed: it is probed when the topology is read.
#[tokio::test]
async fn single_node_is_probed_only_when_topology_is_read() {
    let mut cluster = Replicated::start(1).await;
    let alone = TestServer::builder(Engine::Postgres).url(&cluster.url("bookstore_app", 1));
    let alone = alone.env("ADMIN_ADDR", "127.0.0.1:0").start().await;
    let address = alone.admin_address().await;
    let node = cluster.name(1);
    until_node(address, &node, "a replica alone is shown as one", |it| it["role"] == "replica")
        .await;
    cluster.kill(1).await;
    until_node(address, &node, "it is unreachable", |it| it["role"] == "gone").await;
    cluster.restart(1).await;
    cluster.promote(1).await;
    until_node(address, &node, "it is promoted", |it| {
        it["role"] == "primary" && it["timeline"] == 2
    })
    .await;
}

/// A replica that followed a promoted primary keeps answering when that one is lost too. It gets no
/// record of the new timeline then, and its control file may still have the old one.
#[tokio::test]
async fn replica_that_followed_a_promotion_answers_without_a_primary() {
    let mut cluster = Replicated::start(2).await;
    let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    // Waiting for a primary fails at once.
    let server = server.env("ADMIN_ADDR", "127.0.0.1:0").env("DATABASE_FAILOVER_WAIT", "0s");
    let server = server.start().await;
    let address = server.admin_address().await;
    cluster.kill(0).await;
    cluster.promote(1).await;
    let first = cluster.name(1);
    cluster.follow_to(2, 1).await;
    let second = cluster.name(2);
    let replica = |node: &Value| {
        node["role"] == "replica" && node["timeline"] == 2 && node["lag_ms"].is_u64()
    };
    until_node(address, &second, "the other replica follows", replica).await;
    cluster.kill(1).await;
    until_node(address, &first, "the second primary is unreachable", |node| node["role"] == "gone")
        .await;
    let receives = "SELECT count(*) FROM pg_stat_get_wal_receiver() WHERE status = 'streaming'";
    until("the replica receives nothing", SOON, async || cluster.value(2, receives).await == "0")
        .await;
    // Long enough for several probes.
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let id = "01930000-0000-7000-8000-000000000001".to_owned();
        let mut read = Request::new(GetBookRequest { id, ..GetBookRequest::default() });
        read.metadata_mut().insert("consistency", "eventual".parse().expect("ASCII"));
        let status = client::books(&server).get_book(read).await.expect_err("no such book");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
    }
    until_node(address, &second, "the last node is a replica of unknown lag", |node| {
        node["role"] == "replica" && node["timeline"] == 2 && node["lag_ms"].is_null()
    })
    .await;
}

/// A service that has learned of a timeline but not probed its primary can't read histories yet.
/// This passes, so the error asks for a retry and not for a new token.
#[tokio::test]
async fn token_of_an_unprobed_promotion_is_refused_as_retriable() {
    let mut cluster = Replicated::start(2).await;
    let urls = [0, 2].map(|node| cluster.url("bookstore_app", node));
    let behind = TestServer::builder(Engine::Postgres).url(&urls[0]);
    let behind = behind.env("DATABASE_REPLICA_URLS", &urls[1]).env("DATABASE_FAILOVER_WAIT", "1s");
    let behind = behind.start().await;
    let create = async |server: &TestServer, title: &str| {
        let created = client::create("", client::a_book(title));
        let answer = client::books(server).create_book(created).await.expect("a book");
        answer.metadata().get("consistency-token").expect("a token").clone()
    };
    let before = create(&behind, "Dune").await;
    cluster.caught_up(0, 1).await;
    cluster.kill(0).await;
    cluster.promote(1).await;
    let ahead = TestServer::builder(Engine::Postgres).url(&cluster.url("bookstore_app", 1));
    let ahead = ahead.start().await;
    let after = create(&ahead, "Emma").await;
    for token in [after, before] {
        let id = "01930000-0000-7000-8000-000000000001".to_owned();
        let mut read = Request::new(GetBookRequest { id, ..GetBookRequest::default() });
        read.metadata_mut().insert("consistency-token", token);
        let status = client::books(&behind).get_book(read).await.expect_err("no primary");
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| &*info.reason);
        assert_eq!(reason, Some("DATABASE_UNAVAILABLE"), "{status:?}");
    }
}

/// A call whose deadline ends its wait for a connection says nothing about the node, which stays in
/// use.
#[tokio::test]
async fn short_deadlines_eject_no_node() {
    let cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    let server = server.env("ADMIN_ADDR", "127.0.0.1:0");
    let server = server.env("DATABASE_POOL_SIZE", "1").env("DATABASE_MAX_OVERFLOW", "0");
    let server = server.start().await;
    let address = server.admin_address().await;
    let replica = cluster.name(1);
    until_node(address, &replica, "the replica answers", |node| node["role"] == "replica").await;
    // Without a client-side deadline, so that the error is the service's.
    let books = BookServiceClient::new(raw(server.address()).await);
    let read = |timeout: &'static str| {
        let mut books = books.clone();
        let mut request = Request::new(GetBookRequest { id: client::id(1), ..Default::default() });
        for (key, value) in [("consistency", "eventual"), ("grpc-timeout", timeout)] {
            request.metadata_mut().insert(key, value.parse().expect("ASCII"));
        }
        async move { books.get_book(request).await.expect_err("no such book") }
    };
    let mut late = 0;
    until("some waits for the only connection have timed out", SOON, async || {
        let codes = join_all((0..64).map(|_| read("3m"))).await;
        late += codes.iter().filter(|status| status.code() == Code::DeadlineExceeded).count();
        late >= 100
    })
    .await;
    let (_, metrics) = admin::get(address, "/metrics").await;
    assert!(!metrics.contains("\nbookstore_node_bans_total{"), "{metrics}");
    let status = read("30S").await;
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
}

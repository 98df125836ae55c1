//! Consistency tokens: a read sees its client's writes on any node.

use std::time::Duration;

use bookstore_client::{CallOptions, Client, Consistency, Error, IntoCall, v1};
use bookstore_store::Position;
use bookstore_tests::{Engine, Replicated, TestServer, until};
use tonic::Code;

use super::{SOON, connect_all};
use crate::client;

fn get(id: &str) -> v1::GetBookRequest {
    v1::GetBookRequest { id: id.to_owned(), ..Default::default() }
}

async fn create(client: &Client, title: &str) -> String {
    let created = client.books().create_book(client::create("", client::a_book(title))).await;
    created.expect("a book").into_inner().id
}

/// Two instances of the service: one gets the write, the other the read after it.
#[tokio::test]
async fn client_with_a_lagging_replica_reads_its_own_writes() {
    let cluster = Replicated::start(1).await;
    let serve = async || {
        let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
        server.env("DATABASE_REPLICA_MAX_LAG", "10m").start().await
    };
    let (first, second) = (serve().await, serve().await);
    let client = connect_all(&[&first, &second]);
    let known = create(&client, "Dune").await;
    cluster.caught_up(0, 1).await;
    let eventual = |id: &str| get(id).into_call().consistency(Consistency::Eventual);
    let served_by = |answer: &tonic::Response<v1::Book>| {
        answer.metadata().get("served-by").expect("a node").to_str().expect("ASCII").to_owned()
    };
    until("both instances ask the replica", SOON, async || {
        let mut by = Vec::new();
        for _ in 0..4 {
            let answer = client.books().get_book(eventual(&known)).await.expect("a book");
            by.push(served_by(&answer));
        }
        by.iter().all(|by| by == "replica")
    })
    .await;
    cluster.execute(1, "SELECT pg_wal_replay_pause()").await;
    for number in 0..10 {
        let id = create(&client, &format!("Dune {number}")).await;
        let other = client.new_session();
        let answer = client.books().get_book(get(&id)).await.expect("its own write");
        assert_eq!(served_by(&answer), "primary", "the replica lacks it");
        // Without the token the lagging replica answers the same read.
        let error = other.books().get_book(eventual(&id)).await.expect_err("a replica that lags");
        assert_eq!(error.code(), Code::NotFound, "{error:?}");
        // A client's token can be given to another client.
        let token = client.session().token().expect("a token");
        other.session().observe(&token);
        other.books().get_book(get(&id)).await.expect("the other client's token");
    }
    cluster.execute(1, "SELECT pg_wal_replay_resume()").await;
    let id = create(&client, "Emma").await;
    cluster.caught_up(0, 1).await;
    until("the replica returns the present value", SOON, async || {
        let answer = client.books().get_book(get(&id)).await.expect("its own write");
        served_by(&answer) == "replica"
    })
    .await;
}

/// A lost write is reported once. Then the client continues with the present state.
#[tokio::test]
async fn write_lost_by_a_failover_is_reported_once() {
    let mut cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    let server = server.env("DATABASE_FAILOVER_WAIT", "20s").start().await;
    let client = super::connect(super::url(&server));
    let kept = create(&client, "Dune").await;
    cluster.caught_up(0, 1).await;
    cluster.kill(1).await;
    create(&client, "Emma").await;
    cluster.kill(0).await;
    cluster.restart(1).await;
    cluster.promote(1).await;
    let call = get(&kept).into_call().deadline(Duration::from_secs(20));
    let error = Error::from(client.books().get_book(call).await.expect_err("a lost write"));
    assert!(error.is(v1::ErrorReason::WriteMayBeLost), "{error:?}");
    assert_eq!(client.session().token(), None);
    client.books().get_book(get(&kept)).await.expect("a stored answer");
}

/// The client orders tokens as the service orders the positions in them.
#[test]
fn client_orders_tokens_as_the_service_orders_positions() {
    let at = |timeline, number| Position { system: 7, timeline, number };
    let session = bookstore_client::Session::default();
    let mut known = at(1, 5);
    session.observe(&known.seal(&[1; 32]));
    for next in [at(1, 4), at(1, 6), at(2, 3), at(1, u64::MAX), at(2, 4), at(3, 0)] {
        session.observe(&next.seal(&[1; 32]));
        known = known.later(next);
        assert_eq!(session.token(), Some(known.seal(&[1; 32])), "after {next:?}");
    }
}

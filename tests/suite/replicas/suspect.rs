//! Nodes that are slow or can't be seen: calls on them go on, and unknown lag is not taken for none.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bookstore_proto::v1::book_service_client::BookServiceClient;
use bookstore_tests::{Engine, Line, Replicated, SOON, TestServer, until};
use futures_util::future::join_all;
use tonic::Code;

use super::{EVENTUAL, answers, create, read, reason};
use crate::{
    admin, client,
    transact::{CREATE, Led, a_new_book},
};

/// Of a session that probes, which is not the one that asks.
const PROBES: &str = "SELECT min(pid) FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                      AND query LIKE '%min_recovery_end_timeline%'";

const OPEN: &str = "SELECT min(pid) FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                    AND xact_start IS NOT NULL AND query LIKE 'INSERT INTO \"books\"%'";

/// A service whose calls and transactions may wait.
async fn patient(cluster: &Replicated) -> TestServer {
    let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    let server = server.env("DATABASE_FAILOVER_WAIT", "1m").env("TRANSACTION_TIMEOUT", "1m");
    server.env("TRANSACTION_IDLE_TIMEOUT", "1m").start().await
}

/// How often the service has found no primary.
fn losses(server: &TestServer) -> usize {
    server.logs().so_far().iter().filter(|line| line.contains("there is no primary")).count()
}

/// The primary stands still until the service has given up on it, and then goes on: what was in
/// flight succeeds, on the same sessions.
#[tokio::test]
async fn primary_that_stands_still_ends_no_call() {
    let cluster = Replicated::start(1).await;
    let server = patient(&cluster).await;
    let mut open = Led::begun(&server).await;
    open.call(CREATE, a_new_book(1)).await.expect("a book");
    let session = cluster.value(0, OPEN).await;
    let mut stepping = Led::begun(&server).await;
    stepping.call(CREATE, a_new_book(2)).await.expect("a book");
    cluster.freeze(0);
    let step = async {
        stepping.call(CREATE, a_new_book(3)).await.expect("a step that waits");
        stepping.commit().await.expect("its commit");
    };
    let write = async { create(&server, "Emma").await.expect("a write that waits") };
    let suspected = async {
        until("the primary is suspect", SOON, async || losses(&server) > 0).await;
        // A write that comes now waits for a primary.
        let late = async { create(&server, "Ulysses").await.expect("a late write") };
        let thaw = async { cluster.thaw(0) };
        tokio::join!(late, thaw)
    };
    tokio::join!(step, write, suspected);
    assert_eq!(cluster.value(0, OPEN).await, session, "the session of the open transaction");
    open.commit().await.expect("the commit of the transaction that was open");
    let count = cluster.value(0, "SELECT count(*) FROM books").await;
    assert_eq!(count, "5");
}

/// One probe without an answer, while the node is well.
#[tokio::test]
async fn slow_probe_ends_no_call() {
    let cluster = Replicated::start(1).await;
    let server = patient(&cluster).await;
    let mut open = Led::begun(&server).await;
    open.call(CREATE, a_new_book(1)).await.expect("a book");
    let slow = cluster.value(0, PROBES).await;
    let process = slow.parse().expect("a process that probes");
    cluster.freeze_session(process);
    until("another session probes", SOON, async || {
        let others = format!("{PROBES} AND pid <> {slow}");
        !cluster.value(0, &format!("coalesce(({others})::text, '')")).await.is_empty()
    })
    .await;
    create(&server, "Emma").await.expect("a write meanwhile");
    cluster.thaw_session(process);
    open.commit().await.expect("a commit");
    assert_eq!(losses(&server), 0, "one probe counts for nothing");
}

/// The reads of a pool that is full wait for connections, and no node is to blame.
#[tokio::test]
async fn full_pool_ejects_no_node() {
    let cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    let server = server.env("DATABASE_POOL_SIZE", "1").env("DATABASE_MAX_OVERFLOW", "0");
    let server = server.env("DATABASE_POOL_TIMEOUT", "200ms").env("DATABASE_FAILOVER_WAIT", "1s");
    let server = server.start().await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    cluster.caught_up(0, 1).await;
    answers(&server, &id, &cluster.name(1)).await;
    // The lock holds on the replica too.
    let mut holder = cluster.connect(0).await;
    let lock = "BEGIN; LOCK TABLE books IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
    // Its record is flushed by the next commit.
    cluster.execute(0, "CREATE TABLE marker (); DROP TABLE marker").await;
    cluster.caught_up(0, 1).await;
    let failed = AtomicU32::new(0);
    let reads = join_all((0..6).map(|_| {
        let (mut books, id, failed) = (client::books(&server), id.clone(), &failed);
        async move {
            let status = read(&mut books, &id, EVENTUAL).await.err();
            let reason = status.map(|status| reason(&status).1);
            failed.fetch_add(u32::from(reason.as_deref() == Some("POOL_TIMEOUT")), Relaxed);
        }
    }));
    let release = async {
        until("reads have found no connection", SOON, async || failed.load(Relaxed) > 1).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("a rollback");
    };
    tokio::join!(reads, release);
    let ejected = |line: &String| line.contains("it is ejected");
    assert!(!server.logs().so_far().iter().any(ejected), "a node was ejected");
}

/// Only this service can't see the primary, to which others write.
#[tokio::test]
async fn unseen_primary_leaves_no_late_reads() {
    let cluster = Replicated::start(1).await;
    let line = Line::to_url(cluster.url("bookstore_app", 0)).await;
    let server = TestServer::builder(Engine::Postgres)
        .url(line.url())
        .env("DATABASE_REPLICA_URLS", &cluster.url("bookstore_app", 1))
        .env("DATABASE_FAILOVER_WAIT", "500ms")
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .start()
        .await;
    let address = server.admin_address().await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    cluster.caught_up(0, 1).await;
    answers(&server, &id, &cluster.name(1)).await;
    let write = async || cluster.execute(0, "UPDATE books SET stock = stock + 1").await;
    // A session that has seen nothing.
    let new_session = async || {
        let address = format!("http://{}", server.address());
        let mut books = BookServiceClient::connect(address).await.expect("a connection");
        read(&mut books, &id, &[]).await
    };
    let lag = async || {
        let topology = admin::get_json(address, "/topology").await;
        let replica = topology.as_array().expect("a list").iter();
        replica.filter(|it| it["role"] == "replica").map(|it| it["lag_ms"].clone()).next()
    };
    line.freeze();
    until("the primary isn't seen", SOON, async || losses(&server) > 0).await;
    assert_eq!(lag().await, Some(serde_json::Value::Null), "the lag is unknown");
    until("the replica shows what it receives", SOON, async || {
        write().await;
        new_session().await.is_ok_and(|by| by == "replica")
    })
    .await;
    // It receives and doesn't replay, so it reports a lag.
    cluster.execute(1, "SELECT pg_wal_replay_pause()").await;
    let mut late = None;
    until("no read is answered by a late replica", SOON, async || {
        write().await;
        late = read(&mut client::books(&server), &id, EVENTUAL).await.err();
        late.is_some()
    })
    .await;
    let late = late.expect("an error");
    assert_eq!(reason(&late).1, "DATABASE_UNAVAILABLE", "{late:?}");
    cluster.execute(1, "SELECT pg_wal_replay_resume()").await;
    // Nothing is written any more, so the lag is unknown. A read of any age is answered, and
    // a new session's read is not.
    cluster.caught_up(0, 1).await;
    answers_again(&server, &id).await;
    let mut unknown = None;
    until("a new session gets no answer", SOON, async || {
        unknown = new_session().await.err();
        unknown.is_some()
    })
    .await;
    let unknown = unknown.expect("an error");
    assert_eq!(reason(&unknown), (Code::Unavailable, "DATABASE_UNAVAILABLE".into(), true));
    let by = read(&mut client::books(&server), &id, EVENTUAL).await.expect("a read");
    assert_eq!(by, "replica");
    assert_eq!(lag().await, Some(serde_json::Value::Null));
    line.restore();
    until("the primary is seen again", SOON, async || create(&server, "Emma").await.is_ok()).await;
}

/// Waits until the replica answers, after reads have failed.
async fn answers_again(server: &TestServer, id: &str) {
    let mut books = client::books(server);
    until("the replica answers reads again", SOON, async || {
        read(&mut books, id, EVENTUAL).await.is_ok_and(|by| by == "replica")
    })
    .await;
}

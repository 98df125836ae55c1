//! A lost primary: what continues, what waits, and the outcome of writes in progress.

use std::time::Duration;

use bookstore_tests::{Engine, Line, Replicated, Stopwatch, TestServer, until};
use tonic::{Code, Request, metadata::AsciiMetadataValue};

use super::{EVENTUAL, SOON, STRONG, Steady, answers, create, read, reason, serve, token};
use crate::client;

#[tokio::test]
async fn lost_primary_lets_reads_succeed_and_writes_wait() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "1s").await;
    let book = create(&server, "Dune").await.expect("a book");
    let token = token(&book);
    let id = book.into_inner().id;
    cluster.caught_up(0, 1).await;
    let replica = cluster.name(1);
    answers(&server, &id, &replica).await;
    let steady = Steady::start(&server, &id);
    // A frozen primary keeps its connections, a killed one closes them.
    for lost in ["frozen", "killed"] {
        steady.until_more().await;
        match lost {
            "frozen" => cluster.freeze(0),
            _ => drop(cluster.kill(0).await),
        }
        let (watch, before) = (Stopwatch::start(), steady.count());
        let waiting = create(&server, "Emma").await.expect_err("no primary");
        assert_eq!(reason(&waiting), (Code::Unavailable, "DATABASE_UNAVAILABLE".into(), true));
        let waited = watch.stop();
        assert!(waited.at_least(Duration::from_secs(1)), "{lost}: it hasn't waited");
        assert!(waited.at_most(Duration::from_secs(10)), "{lost}: {waited:?} is too long");
        for metadata in [&[][..], EVENTUAL, &[("consistency-token", &token)]] {
            let by = read(&mut client::books(&server), &id, metadata).await.expect("a read");
            assert_eq!(by, "replica", "{lost}");
        }
        // The outage lasts for a second and more: if reads waited with the write, there would be
        // two or none.
        let meanwhile = steady.count() - before;
        assert!(meanwhile > 10, "{lost}: {meanwhile} reads meanwhile");
        match lost {
            "frozen" => cluster.thaw(0),
            _ => cluster.restart(0).await,
        }
        until("writes succeed again", SOON, async || create(&server, "Ulysses").await.is_ok())
            .await;
        let by = read(&mut client::books(&server), &id, STRONG).await.expect("a read");
        assert_eq!(by, "primary");
        // The node has replayed the new rows, so the session may read there.
        cluster.caught_up(0, 1).await;
        answers(&server, &id, &replica).await;
    }
    steady.end().await;
}

/// The time that a write took on the lost primary must not count against the wait for the new one.
#[tokio::test]
async fn long_write_on_a_lost_primary_leaves_time_for_the_next() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "6s").await;
    let mut holder = cluster.connect(0).await;
    let lock = "BEGIN; LOCK TABLE books IN SHARE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
    let mut books = client::books(&server);
    let long = client::create("", client::a_book("Dune"));
    let long = tokio::spawn(async move { books.create_book(long).await });
    let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                 AND wait_event_type = 'Lock' AND query_start < now() - interval '6 seconds')";
    until("the write has taken longer than a failover may", SOON, async || {
        cluster.value(0, waits).await == "true"
    })
    .await;
    cluster.kill(0).await;
    cluster.promote(1).await;
    let book = long.await.expect("no panic").expect("a write on the new primary").into_inner();
    let there = format!("SELECT count(*) FROM books WHERE id = '{}'", book.id);
    assert_eq!(cluster.value(1, &there).await, "1");
}

/// The outcome of a commit with a lost answer can't be asked for while there is no primary. Its
/// error must not say that nothing has changed.
#[tokio::test]
async fn unknown_commit_on_a_lost_primary_stays_unknown() {
    let cluster = Replicated::start(1).await;
    let line = Line::to_url(cluster.url("bookstore_app", 0)).await;
    let server = TestServer::builder(Engine::Postgres)
        .url(line.url())
        .env("DATABASE_REPLICA_URLS", &cluster.url("bookstore_app", 1))
        .env("DATABASE_FAILOVER_WAIT", "2s")
        .start()
        .await;
    create(&server, "Emma").await.expect("a book");
    let key = "018f4d2e-0000-7000-8000-000000000001";
    let keyed = || {
        let mut request = Request::new(client::create("", client::a_book("Dune")));
        request.metadata_mut().insert("idempotency-key", AsciiMetadataValue::from_static(key));
        request
    };
    // The commit arrives and its answer is lost. Then the primary accepts connections again, and is
    // lost as soon as the key's transaction begins there.
    line.cut_at(b"COMMIT; SELECT");
    let (mut books, first) = (client::books(&server), keyed());
    let written = tokio::spawn(async move { books.create_book(first).await });
    line.is_cut().await;
    line.cut_at(b"BEGIN ISOLATION");
    line.is_cut().await;
    let status = written.await.expect("no panic").expect_err("an unknown outcome");
    assert_eq!(reason(&status).1, "COMMIT_OUTCOME_UNKNOWN", "{status:?}");
    let there = "SELECT count(*) FROM books WHERE title = 'Dune'";
    assert_eq!(cluster.value(0, there).await, "1", "the write was applied");

    // With its key the outcome is found as soon as there is a primary.
    line.restore();
    until("writes succeed again", SOON, async || create(&server, "Ulysses").await.is_ok()).await;
    client::books(&server).create_book(keyed()).await.expect("the write's answer");
    assert_eq!(cluster.value(0, there).await, "1", "the write was applied once");
}

/// A primary that was frozen during the promotion of another still acts as a primary when it
/// continues.
#[tokio::test]
async fn resumed_former_primary_gets_no_writes() {
    let cluster = Replicated::start(1).await;
    let server = serve(&cluster, "20s").await;
    create(&server, "before").await.expect("a book");
    cluster.caught_up(0, 1).await;
    cluster.freeze(0);
    cluster.promote(1).await;
    create(&server, "meanwhile").await.expect("a write on the new primary");
    cluster.thaw(0);
    let now = cluster.value(0, "now()").await;
    let probes = format!(
        "EXISTS (SELECT FROM pg_stat_activity \
         WHERE usename = 'bookstore_app' AND query_start > '{now}')"
    );
    until("the service probes it", SOON, async || cluster.value(0, &probes).await == "true").await;
    for _ in 0..20 {
        create(&server, "after").await.expect("a write");
    }
    let written = "SELECT count(*) FROM books WHERE title <> 'before'";
    assert_eq!(cluster.value(0, written).await, "0", "a write has reached the former primary");
    assert_eq!(cluster.value(1, written).await, "21");
}

/// No node is reachable, and the first that returns is a replica.
#[tokio::test]
async fn read_without_any_node_waits_for_a_replica() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "30s").await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    cluster.caught_up(0, 1).await;
    answers(&server, &id, &cluster.name(1)).await;
    cluster.kill(0).await;
    cluster.kill(1).await;
    let mut books = client::books(&server);
    let waiting = tokio::spawn(async move { read(&mut books, &id, EVENTUAL).await });
    cluster.restart(1).await;
    let by = waiting.await.expect("no panic").expect("a read that waits");
    assert_eq!(by, "replica");
}

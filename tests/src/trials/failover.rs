//! The primary is killed under load and a replica is promoted. The old primary comes back beside
//! it, and then as a replica. Callers see a pause, no acknowledged write is missing, and no write
//! reaches the old primary. One service runs through all repetitions.

mod callers;

use std::{sync::atomic::Ordering, time::Duration};

use self::callers::Callers;
use super::readers::{ADMIN, LOG, Readers, Shared, reads_of_replica};
use crate::{Engine, Replicated, SOON, Stopwatch, TestServer, until};

/// How much longer than for a bare client writes may be without an answer.
const ALLOWED: Duration = Duration::from_secs(1);

/// The rows to be written before the trial continues.
const SOME: u64 = 200;

const BOOKS: &str = "SELECT count(*) FROM books";

/// Fails over `scale` times, on one cluster and with one service.
pub(super) async fn failover(scale: u32) {
    let mut cluster = Replicated::start(2).await;
    for node in 0..3 {
        // Without synchronous replication an acknowledged write may be on the lost primary alone.
        // The setting is also on the replica, where it applies as soon as that is promoted.
        let all = "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()";
        cluster.execute(node, all).await;
    }
    let server = TestServer::builder(Engine::Postgres)
        .url(&cluster.urls("bookstore_app"))
        .env(LOG.0, LOG.1)
        .env(ADMIN.0, ADMIN.1)
        .start()
        .await;
    let nodes = (0..3).map(|node| cluster.url("bookstore_app", node)).collect();
    let callers = Callers::start(&server, nodes);
    // No such book: any node may answer.
    let readers = Readers::start(&server, &[uuid::Uuid::new_v4().to_string()]);
    let mut primary = 0;
    for round in 1..=scale {
        primary = one(round, &mut cluster, primary, &server, &callers).await;
    }
    let retries = callers.retries.load(Ordering::Relaxed);
    let acknowledged = callers.end().await;
    assert!(readers.end().await > 0, "no read was answered");
    Shared::count(&server).await.report("failover");
    all_are_there(&cluster, primary, &acknowledged).await;
    eprintln!("{} writes acknowledged, {retries} calls retried", acknowledged.len());
}

/// Fails over from a primary; returns the new primary.
async fn one(
    round: u32,
    cluster: &mut Replicated,
    old: usize,
    server: &TestServer,
    callers: &Callers,
) -> usize {
    more_books(cluster, old).await;
    let others: Vec<_> = (0..3).filter(|node| *node != old).collect();
    for node in &others {
        cluster.caught_up(old, *node).await;
    }
    let watch = Stopwatch::start();
    callers.reset();
    cluster.kill(old).await;
    let (successor, left) = cluster.furthest(&others).await;
    cluster.promote(successor).await;
    for replica in left {
        cluster.follow_to(replica, successor).await;
    }
    more_books(cluster, successor).await;

    // The old primary still acts as a primary, without a replica. Its rows are counted while only
    // this harness can reach it.
    cluster.restart_hidden(old).await;
    let alone = "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()";
    cluster.execute(old, alone).await;
    let count = cluster.value(old, BOOKS).await;
    cluster.stop(old).await;
    cluster.restart(old).await;
    more_books(cluster, successor).await;
    assert_eq!(cluster.value(old, BOOKS).await, count, "a write has reached the old primary");
    let (longest, bare) = (callers.longest(), callers.bare.longest());
    all_are_there(cluster, successor, &callers.acknowledged()).await;
    let once = "SELECT count(*) = count(DISTINCT title) FROM books WHERE title LIKE 'key %'";
    assert_eq!(cluster.value(successor, once).await, "true", "a write happened twice");

    // It rejoins as a replica and answers reads.
    cluster.kill(old).await;
    cluster.rejoin(old, successor).await;
    let name = cluster.name(old);
    let before = reads_of_replica(server, &name).await;
    until("the old primary answers reads as a replica", SOON, async || {
        reads_of_replica(server, &name).await > before
    })
    .await;
    eprintln!(
        "{round}: from {old} to {successor}, longest gap {longest:?}, of a bare client {bare:?}"
    );
    callers.assert_running();
    let (took, allowed) = (watch.stop(), ALLOWED);
    let most = bare + allowed.mul_f64(took.stretch());
    assert!(longest <= most, "{longest:?} without a write, a bare client {bare:?}: {took:?}");
    successor
}

/// Waits until some more rows are written on a primary.
async fn more_books(cluster: &Replicated, primary: usize) {
    let before = cluster.value(primary, BOOKS).await;
    let written = format!("SELECT count(*) > {before} + {SOME} FROM books");
    until("writes go on", SOON, async || cluster.value(primary, &written).await == "true").await;
}

/// Asserts that every one of these books is on a primary.
async fn all_are_there(cluster: &Replicated, primary: usize, ids: &[String]) {
    let list = ids.join(",");
    let there = format!("SELECT count(*) FROM books WHERE id = ANY ('{{{list}}}'::uuid[])");
    let there: usize = cluster.value(primary, &there).await.parse().expect("a count");
    assert_eq!(ids.len() - there, 0, "acknowledged writes are missing");
}

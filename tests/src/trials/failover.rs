//! The primary is killed under load and a replica promoted; the old one comes back beside it:
//! callers see a pause, no acknowledged write is missing, and nothing reaches the old one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, book_service_client::BookServiceClient,
};
use sqlx::{Connection, PgConnection};
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{Engine, Replicated, TestServer, until};

/// Callers that write, and as many that read.
const CALLERS: usize = 4;

/// How much longer than for a bare client writes may be without an answer.
const ALLOWED: Duration = Duration::from_secs(1);

/// Fails over `scale` times, each on a cluster of its own.
pub(super) async fn failover(scale: u32) {
    for round in 1..=scale {
        one(round).await;
    }
}

async fn one(round: u32) {
    let mut cluster = Replicated::start(2).await;
    // Without it an acknowledged write may be on the lost primary alone.
    cluster
        .execute(0, "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf()")
        .await;
    let server = TestServer::builder(Engine::Postgres)
        .url(&cluster.urls("bookstore_app"))
        .env("LOG_LEVEL", "warn")
        .start()
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let bare = tokio::spawn(bare(
        (0..3).map(|node| cluster.url("bookstore_app", node)).collect(),
        Arc::clone(&stop),
    ));
    let writers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(writer(server.channel(), Arc::clone(&stop)))).collect();
    let readers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(reader(server.channel(), Arc::clone(&stop)))).collect();
    let books = "SELECT count(*) FROM books";
    until("there is some load", Duration::from_secs(60), async || {
        cluster.value(0, books).await.parse::<u32>().expect("a count") > 200
    })
    .await;
    cluster.kill(0).await;
    // The one that is further: it has all that was acknowledged.
    let mut at = Vec::new();
    for node in [1, 2] {
        let sql = "pg_last_wal_receive_lsn() - '0/0'::pg_lsn";
        at.push((cluster.value(node, sql).await.parse::<u64>().expect("a position"), node));
    }
    let successor = at.iter().max().map_or(1, |(_, node)| *node);
    cluster.promote(successor).await;
    let promoted = cluster.value(successor, books).await;
    let written = format!("SELECT count(*) > {promoted} + 200 FROM books");
    until("writes go on", Duration::from_secs(60), async || {
        cluster.value(successor, &written).await == "true"
    })
    .await;
    // The old one believes in itself, without anybody to wait for.
    cluster.restart(0).await;
    let alone = "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()";
    cluster.execute(0, alone).await;
    let old = cluster.value(0, books).await;
    let more = cluster.value(successor, books).await;
    let written = format!("SELECT count(*) > {more} + 200 FROM books");
    until("writes go on beside the old primary", Duration::from_secs(60), async || {
        cluster.value(successor, &written).await == "true"
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut longest = Duration::ZERO;
    let mut acknowledged = Vec::new();
    for writer in writers {
        let (ids, gap) = writer.await.expect("a writer that doesn't panic");
        acknowledged.extend(ids);
        longest = longest.max(gap);
    }
    for reader in readers {
        reader.await.expect("a reader that doesn't panic");
    }
    let gap = bare.await.expect("a client that doesn't panic");
    assert_eq!(cluster.value(0, books).await, old, "a write has reached the old primary");
    let mut missing = 0;
    for id in &acknowledged {
        let there = format!("SELECT count(*) FROM books WHERE id = '{id}'");
        missing += u32::from(cluster.value(successor, &there).await != "1");
    }
    assert_eq!(missing, 0, "acknowledged writes are missing");
    let once = "SELECT count(*) = count(DISTINCT title) FROM books WHERE title LIKE 'key %'";
    assert_eq!(cluster.value(successor, once).await, "true", "a write happened twice");
    eprintln!(
        "{round}: {} acknowledged, longest gap {longest:?}, of a bare client {gap:?}",
        acknowledged.len()
    );
    assert!(longest <= gap + ALLOWED, "{longest:?} without a write, a bare client {gap:?}");
}

/// Creates books with keys until it is told to stop; answers their ids and the longest time
/// from one answer to the next.
async fn writer(channel: Channel, stop: Arc<AtomicBool>) -> (Vec<String>, Duration) {
    let mut books = BookServiceClient::new(channel);
    let (mut ids, mut longest, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let key = Uuid::new_v4().to_string();
        let price = Some(Money { currency_code: "EUR".into(), units: 5, nanos: 0 });
        let (title, author) = (format!("key {key}"), "Frank Herbert".into());
        let book = Book { title, author, price, ..Book::default() };
        loop {
            let create = CreateBookRequest { book: Some(book.clone()), id: String::new() };
            let mut request = Request::new(create);
            request.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
            match books.create_book(request).await {
                Ok(answer) => {
                    ids.push(answer.into_inner().id);
                    break;
                }
                // Whoever has a key may try again; all else would be a leak of the failover.
                Err(status) => {
                    let details = status.get_error_details();
                    let reason = details.error_info().map(|info| info.reason.clone());
                    let reason = reason.unwrap_or_default();
                    let again = ["DATABASE_UNAVAILABLE", "COMMIT_OUTCOME_UNKNOWN", "KEY_IN_USE"];
                    assert!(again.contains(&reason.as_str()), "{status:?}");
                }
            }
        }
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    (ids, longest)
}

/// Reads until it is told to stop: a book that isn't there, so that any node may say so.
async fn reader(channel: Channel, stop: Arc<AtomicBool>) {
    let mut books = BookServiceClient::new(channel);
    while !stop.load(Ordering::Relaxed) {
        let id = Uuid::new_v4().to_string();
        let mut request = Request::new(GetBookRequest { id, ..GetBookRequest::default() });
        let eventual = "eventual".parse().expect("ASCII");
        request.metadata_mut().insert("consistency", eventual);
        let status = books.get_book(request).await.expect_err("no such book");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
    }
}

/// What failing over costs a client that tries every node every 10 ms and knows nothing: the longest
/// time from one insert to the next.
async fn bare(nodes: Vec<String>, stop: Arc<AtomicBool>) -> Duration {
    let (mut longest, mut last, mut at) = (Duration::ZERO, Instant::now(), 0);
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let insert = async {
            let mut session = match connection.take() {
                Some(session) => session,
                None => PgConnection::connect(&nodes[at]).await?,
            };
            let sql = "UPDATE categories SET version = version + 1 WHERE name = 'History'";
            sqlx::query(sql).execute(&mut session).await?;
            Ok::<_, sqlx::Error>(session)
        };
        match tokio::time::timeout(Duration::from_secs(1), insert).await {
            Ok(Ok(session)) => {
                connection = Some(session);
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            _ => at = (at + 1) % nodes.len(),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    longest
}

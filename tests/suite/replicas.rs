//! A primary and its replicas: who answers, what is waited for, and what a failover costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_proto::v1::{Book, GetBookRequest, book_service_client::BookServiceClient};
use bookstore_tests::{Engine, Line, Replicated, TestServer, run, until};
use serde_json::json;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status, metadata::AsciiMetadataValue, transport::Channel};
use tonic_types::StatusExt;

use crate::{client, standard::statements_with};

const GET: &str = "BookService/GetBook";

/// How long anything may take on a small machine.
const SOON: Duration = Duration::from_secs(30);

type Metadata = &'static [(&'static str, &'static str)];

async fn serve(cluster: &Replicated, wait: &str) -> TestServer {
    let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    server.env("DATABASE_FAILOVER_WAIT", wait).start().await
}

async fn create(server: &TestServer, title: &str) -> Result<Response<Book>, Status> {
    client::books(server).create_book(client::create("", client::a_book(title))).await
}

/// Reads a book with metadata; answers by whom.
async fn read(
    books: &mut BookServiceClient<Channel>,
    id: &str,
    metadata: &[(&'static str, &str)],
) -> Result<String, Status> {
    let mut request = Request::new(GetBookRequest { id: id.to_owned(), ..Default::default() });
    for (key, value) in metadata {
        request.metadata_mut().insert(*key, value.parse().expect("ASCII"));
    }
    let answer = books.get_book(request).await?;
    let by = answer.metadata().get("served-by").expect("a node");
    Ok(by.to_str().expect("ASCII").to_owned())
}

/// Any node may answer.
const EVENTUAL: Metadata = &[("consistency", "eventual")];

/// Only the primary may.
const STRONG: Metadata = &[("consistency", "strong")];

fn token(answer: &Response<Book>) -> String {
    let token = answer.metadata().get("consistency-token").expect("a token");
    token.to_str().expect("ASCII").to_owned()
}

fn reason(status: &Status) -> (Code, String, bool) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    (status.code(), reason, details.retry_info().is_some())
}

/// Waits until a node answers a read that any may answer.
async fn answers(server: &TestServer, id: &str, node: &str) {
    let mut books = client::books(server);
    until("the node answers reads", SOON, async || {
        read(&mut books, id, EVENTUAL).await.expect("a read") == node
    })
    .await;
}

/// Reads that go on until they are ended, of which none may fail.
struct Steady {
    done: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    readers: Vec<JoinHandle<()>>,
}

impl Steady {
    fn start(server: &TestServer, id: &str) -> Self {
        let (done, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let reader = |metadata: Metadata| {
            let (mut books, id) = (client::books(server), id.to_owned());
            let (done, count) = (done.clone(), count.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    read(&mut books, &id, metadata).await.expect("a read that doesn't fail");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let readers = [&[][..], EVENTUAL].map(reader).into();
        Self { done, count, readers }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until there are some more.
    async fn go_on(&self) {
        let enough = self.count() + 40;
        until("reads go on", SOON, async || {
            assert!(!self.readers.iter().any(JoinHandle::is_finished), "a read has failed");
            self.count() > enough
        })
        .await;
    }

    async fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        for reader in self.readers {
            reader.await.expect("reads that don't fail");
        }
    }
}

#[tokio::test]
async fn no_read_fails_with_a_replica() {
    let mut cluster = Replicated::start(2).await;
    let server = serve(&cluster, "10s").await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    let (first, second) = (cluster.name(1), cluster.name(2));
    answers(&server, &id, &first).await;
    answers(&server, &id, &second).await;
    let by = read(&mut client::books(&server), &id, STRONG).await.expect("a read");
    assert_eq!(by, "primary");

    // A frozen one closes nothing; a killed one closes everything.
    let steady = Steady::start(&server, &id);
    let mut books = client::books(&server);
    let mut reads_go_on = async |but: &str| {
        for _ in 0..40 {
            let by = read(&mut books, &id, EVENTUAL).await.expect("a read meanwhile");
            assert_ne!(by, but, "a node that doesn't answer has answered");
        }
    };
    cluster.freeze(1);
    reads_go_on(&first).await;
    steady.go_on().await;
    cluster.thaw(1);
    answers(&server, &id, &first).await;
    cluster.kill(2).await;
    reads_go_on(&second).await;
    steady.go_on().await;
    cluster.restart(2).await;
    answers(&server, &id, &second).await;
    cluster.stop(1).await;
    cluster.restart(1).await;
    answers(&server, &id, &first).await;

    // One whose replay stands still has what it had, and isn't asked for more.
    cluster.execute(1, "SELECT pg_wal_replay_pause()").await;
    let new = create(&server, "Persuasion").await.expect("a book");
    let bound = token(&new);
    let new = new.into_inner().id;
    for _ in 0..20 {
        let by = read(&mut client::books(&server), &new, &[("consistency-token", &bound)])
            .await
            .expect("what was written");
        assert_ne!(by, first, "it can't have that");
    }
    steady.go_on().await;
    cluster.execute(1, "SELECT pg_wal_replay_resume()").await;

    // One that lags is asked for nothing but what it has.
    cluster.delay(1, Duration::from_mins(1)).await;
    cluster.delay(2, Duration::from_mins(1)).await;
    create(&server, "Emma").await.expect("a book");
    until("nobody asks replicas that lag", SOON, async || {
        read(&mut client::books(&server), &id, EVENTUAL).await.expect("a read") == "primary"
    })
    .await;
    steady.go_on().await;
    steady.end().await;

    let urls = cluster.urls("bookstore_app");
    let told = run(&["topology"], &[("DATABASE_URL", &urls)]).await;
    assert_eq!(told.code, Some(0), "{told:#?}");
    for (node, role) in [(0, "primary"), (1, "replica"), (2, "replica")] {
        let line = told.output.lines().find(|line| line.starts_with(&cluster.name(node)));
        assert!(line.is_some_and(|line| line.contains(role)), "{}", told.output);
    }
}

#[tokio::test]
async fn without_a_primary_reads_go_on_and_writes_wait() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "1s").await;
    let book = create(&server, "Dune").await.expect("a book");
    let token = token(&book);
    let id = book.into_inner().id;
    cluster.caught_up(0, 1).await;
    let replica = cluster.name(1);
    answers(&server, &id, &replica).await;
    let steady = Steady::start(&server, &id);
    // A frozen one keeps its connections, a killed one leaves none.
    for lost in ["frozen", "killed"] {
        let (began, before) = (Instant::now(), steady.count());
        steady.go_on().await;
        let pace = per_second(steady.count() - before, began);
        match lost {
            "frozen" => cluster.freeze(0),
            _ => drop(cluster.kill(0).await),
        }
        let (began, before) = (Instant::now(), steady.count());
        let waiting = create(&server, "Emma").await.expect_err("no primary");
        assert_eq!(reason(&waiting), (Code::Unavailable, "DATABASE_UNAVAILABLE".into(), true));
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(1), "{lost}: it hasn't waited");
        assert!(waited < Duration::from_secs(10), "{lost}: {waited:?} is too long");
        for metadata in [&[][..], EVENTUAL, &[("consistency-token", &token)]] {
            let by = read(&mut client::books(&server), &id, metadata).await.expect("a read");
            assert_eq!(by, replica, "{lost}");
        }
        // Ratios alone can be trusted beside other tests.
        let meanwhile = per_second(steady.count() - before, began);
        assert!(meanwhile > pace / 4, "{lost}: {meanwhile} reads a second, before {pace}");
        match lost {
            "frozen" => cluster.thaw(0),
            _ => cluster.restart(0).await,
        }
        until("writes are taken again", SOON, async || create(&server, "Ulysses").await.is_ok())
            .await;
        let by = read(&mut client::books(&server), &id, STRONG).await.expect("a read");
        assert_eq!(by, "primary");
        // What was created since has reached it, so that the session's reads may go there.
        cluster.caught_up(0, 1).await;
        answers(&server, &id, &replica).await;
    }
    steady.end().await;
}

fn per_second(count: u64, began: Instant) -> u128 {
    u128::from(count) * 1_000 / began.elapsed().as_millis().max(1)
}

/// The time that a write took before its primary was lost is not the search's for the next one.
#[tokio::test]
async fn a_long_write_outlives_its_primary() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "4s").await;
    let mut holder = cluster.connect(0).await;
    let lock = "BEGIN; LOCK TABLE books IN SHARE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
    let mut books = client::books(&server);
    let long = client::create("", client::a_book("Dune"));
    let long = tokio::spawn(async move { books.create_book(long).await });
    let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                 AND wait_event_type = 'Lock' AND query_start < now() - interval '4 seconds')";
    until("the write has taken longer than a failover may", SOON, async || {
        cluster.value(0, waits).await == "true"
    })
    .await;
    cluster.kill(0).await;
    cluster.promote(1).await;
    let book = long.await.expect("no panic").expect("a write on the successor").into_inner();
    let there = format!("SELECT count(*) FROM books WHERE id = '{}'", book.id);
    assert_eq!(cluster.value(1, &there).await, "1");
}

/// Nobody can be asked any more what became of a commit whose answer was lost: the caller isn't
/// told that nothing has changed.
#[tokio::test]
async fn an_unknown_commit_stays_unknown() {
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
    // The commit arrives and its answer is lost; then the primary takes connections again, and is
    // lost as soon as the key's transaction begins there.
    line.cut_at(b"COMMIT; SELECT");
    let (mut books, first) = (client::books(&server), keyed());
    let written = tokio::spawn(async move { books.create_book(first).await });
    line.is_cut().await;
    line.cut_at(b"BEGIN ISOLATION");
    line.is_cut().await;
    let status = written.await.expect("no panic").expect_err("nobody knows");
    assert_eq!(reason(&status).1, "COMMIT_OUTCOME_UNKNOWN", "{status:?}");
    let there = "SELECT count(*) FROM books WHERE title = 'Dune'";
    assert_eq!(cluster.value(0, there).await, "1", "it has happened");

    // With its key it is found as soon as somebody can be asked.
    line.restore();
    until("writes are taken again", SOON, async || create(&server, "Ulysses").await.is_ok()).await;
    client::books(&server).create_book(keyed()).await.expect("the write's answer");
    assert_eq!(cluster.value(0, there).await, "1", "it happened once");
}

/// With several nodes and with one.
#[tokio::test]
async fn a_book_costs_one_round_trip() {
    let cluster = Replicated::start(1).await;
    let (all, alone) = (cluster.urls("bookstore_app"), cluster.url("bookstore_app", 0));
    for (urls, by) in [(&all, cluster.name(1)), (&alone, "primary".to_owned())] {
        let server = TestServer::builder(Engine::Postgres).url(urls);
        let server = server.env("DATABASE_ECHO", "true").start().await;
        let id = create(&server, "Dune").await.expect("a book").into_inner().id;
        cluster.caught_up(0, 1).await;
        answers(&server, &id, &by).await;
        for metadata in [&[][..], EVENTUAL, STRONG] {
            let texts = statements_with(&server, GET, json!({"id": id}), metadata).await;
            assert_eq!(texts.len(), 1, "{by}, {metadata:?}: {texts:#?}");
        }
    }
}

/// A write that only the lost primary had is told of, and one that its successor has is found.
#[tokio::test]
async fn a_token_of_before_a_failover_is_verified() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "10s").await;
    let kept = create(&server, "Dune").await.expect("a book");
    cluster.caught_up(0, 1).await;
    cluster.kill(1).await;
    // The token is the position that was inserted where nobody waits for what is flushed.
    let lazily = "ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf()";
    cluster.execute(0, lazily).await;
    let lost = create(&server, "Emma").await.expect("a book");
    cluster.kill(0).await;
    // The session has seen the lost write: it isn't answered with what was before, and not by the
    // primary either that it waits for.
    let (mut session, early) = (client::books(&server), kept.get_ref().id.clone());
    let early = tokio::spawn(async move { read(&mut session, &early, &[]).await });
    cluster.restart(1).await;
    cluster.promote(1).await;
    let status = early.await.expect("no panic").expect_err("what was lost");
    assert_eq!(reason(&status), (Code::FailedPrecondition, "WRITE_MAY_BE_LOST".into(), false));
    let (kept_token, lost_token) = (token(&kept), token(&lost));
    let (kept_token, lost_token) =
        ([("consistency-token", &*kept_token)], [("consistency-token", &*lost_token)]);
    let (kept, lost) = (kept.into_inner().id, lost.into_inner().id);
    // A new client has seen nothing.
    let address = format!("http://{}", server.address());
    let mut books = BookServiceClient::connect(address).await.expect("a connection");
    let by = read(&mut books, &kept, &kept_token).await.expect("what was kept");
    assert_eq!(by, "primary");
    let status = read(&mut books, &lost, &lost_token).await.expect_err("what was lost");
    assert_eq!(reason(&status).1, "WRITE_MAY_BE_LOST", "{status:?}");
    let status = read(&mut books, &lost, &[]).await.expect_err("it isn't there");
    assert_eq!(status.code(), Code::NotFound);

    // Who may not read histories can't verify anything.
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) FROM bookstore_owner";
    cluster.execute(1, revoke).await;
    let another = serve(&cluster, "10s").await;
    let status = read(&mut client::books(&another), &kept, &kept_token).await;
    let status = status.expect_err("no history");
    assert_eq!(reason(&status).1, "TOKEN_UNVERIFIABLE", "{status:?}");
}

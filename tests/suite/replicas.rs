//! A primary and its replicas: which node answers, what the service waits for, and the cost of a
//! failover.

mod lost_primary;
mod positions;
mod session;
mod suspect;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bookstore_proto::v1::{Book, GetBookRequest, book_service_client::BookServiceClient};
use bookstore_tests::{Engine, Replicated, SOON, TestServer, run, until};
use serde_json::json;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{client, standard::statements_with};

const GET: &str = "BookService/GetBook";

type Metadata = &'static [(&'static str, &'static str)];

async fn serve(cluster: &Replicated, wait: &str) -> TestServer {
    let server = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    server.env("DATABASE_FAILOVER_WAIT", wait).start().await
}

async fn create(server: &TestServer, title: &str) -> Result<Response<Book>, Status> {
    client::books(server).create_book(client::create("", client::a_book(title))).await
}

/// Reads a book with metadata; returns the role of the node that answered.
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

/// The node that answers a read, which the log says: callers learn its role only.
async fn node(
    server: &TestServer,
    id: &str,
    metadata: &[(&'static str, &str)],
) -> Result<String, Status> {
    let mut request = Request::new(GetBookRequest { id: id.to_owned(), ..Default::default() });
    let call = Uuid::new_v4().to_string();
    for (key, value) in metadata.iter().copied().chain([("request-id", &*call)]) {
        request.metadata_mut().insert(key, value.parse().expect("ASCII"));
    }
    let answer = client::books(server).get_book(request).await?;
    let line =
        server.logs().wait_for(|line| line.contains(&call) && line.contains("\"call\"")).await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let by = answer.metadata().get("served-by").expect("a role").to_str().expect("ASCII");
    assert!(["primary", "replica"].contains(&by), "{by}: callers learn no address");
    Ok(line["node"].as_str().expect("a node").to_owned())
}

/// Any node may answer.
const EVENTUAL: Metadata = &[("consistency", "eventual")];

/// Only the primary may answer.
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

/// Waits until a node answers an eventually consistent read.
async fn answers(server: &TestServer, id: &str, node: &str) {
    until("the node answers reads", SOON, async || {
        self::node(server, id, EVENTUAL).await.expect("a read") == node
    })
    .await;
}

/// Reads that continue until they are stopped; none may fail.
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
                    read(&mut books, &id, metadata).await.expect("a read without failure");
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

    /// Waits for some more reads.
    async fn until_more(&self) {
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
            reader.await.expect("reads without failure");
        }
    }
}

#[tokio::test]
async fn reads_succeed_while_one_replica_answers() {
    let mut cluster = Replicated::start(2).await;
    let server = serve(&cluster, "10s").await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    let (first, second) = (cluster.name(1), cluster.name(2));
    answers(&server, &id, &first).await;
    answers(&server, &id, &second).await;
    let by = read(&mut client::books(&server), &id, STRONG).await.expect("a read");
    assert_eq!(by, "primary");

    // A frozen node closes nothing; a killed node closes everything.
    let steady = Steady::start(&server, &id);
    let reads_go_on = async |but: &str| {
        for _ in 0..40 {
            let by = node(&server, &id, EVENTUAL).await.expect("a read meanwhile");
            assert_ne!(by, but, "a frozen or killed node has answered");
        }
    };
    cluster.freeze(1);
    reads_go_on(&first).await;
    steady.until_more().await;
    cluster.thaw(1);
    answers(&server, &id, &first).await;
    cluster.kill(2).await;
    reads_go_on(&second).await;
    steady.until_more().await;
    cluster.restart(2).await;
    answers(&server, &id, &second).await;
    cluster.stop(1).await;
    cluster.restart(1).await;
    answers(&server, &id, &first).await;

    // A replica with paused replay still answers with what it has, and isn't asked for newer rows.
    cluster.execute(1, "SELECT pg_wal_replay_pause()").await;
    let new = create(&server, "Persuasion").await.expect("a book");
    let bound = token(&new);
    let new = new.into_inner().id;
    for _ in 0..20 {
        let by = node(&server, &new, &[("consistency-token", &bound)]).await;
        assert_ne!(by.expect("the written book"), first, "the paused replica lacks it");
    }
    steady.until_more().await;
    cluster.execute(1, "SELECT pg_wal_replay_resume()").await;

    // A lagging replica is only asked for what it has.
    cluster.delay(1, Duration::from_mins(1)).await;
    cluster.delay(2, Duration::from_mins(1)).await;
    create(&server, "Emma").await.expect("a book");
    until("no read goes to lagging replicas", SOON, async || {
        read(&mut client::books(&server), &id, EVENTUAL).await.expect("a read") == "primary"
    })
    .await;
    steady.until_more().await;
    steady.end().await;

    let urls = cluster.urls("bookstore_app");
    let topology = run(&["topology"], &[("DATABASE_URL", &urls)]).await;
    assert_eq!(topology.code, Some(0), "{topology:#?}");
    for (node, role) in [(0, "primary"), (1, "replica"), (2, "replica")] {
        let line = topology.output.lines().find(|line| line.starts_with(&cluster.name(node)));
        assert!(line.is_some_and(|line| line.contains(role)), "{}", topology.output);
    }
}

/// With several nodes and with one.
#[tokio::test]
async fn get_book_takes_one_round_trip() {
    let cluster = Replicated::start(1).await;
    let (all, alone) = (cluster.urls("bookstore_app"), cluster.url("bookstore_app", 0));
    for (urls, by) in [(&all, cluster.name(1)), (&alone, cluster.name(0))] {
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

/// A token of a write that only the lost primary had is reported; one of a write that the new
/// primary has is accepted.
#[tokio::test]
async fn token_from_before_a_failover_is_verified() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "10s").await;
    let kept = create(&server, "Dune").await.expect("a book");
    cluster.caught_up(0, 1).await;
    cluster.kill(1).await;
    // Ignored: the token's position is on disk, or a crash could take what it stands for.
    let lazily = "ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf()";
    cluster.execute(0, lazily).await;
    let lost = create(&server, "Emma").await.expect("a book");
    cluster.kill(0).await;
    // The session has seen the lost write, so an older state must not be returned, not even by the
    // primary.
    let (mut session, early) = (client::books(&server), kept.get_ref().id.clone());
    let early = tokio::spawn(async move { read(&mut session, &early, &[]).await });
    cluster.restart(1).await;
    cluster.promote(1).await;
    let status = early.await.expect("no panic").expect_err("a lost write");
    assert_eq!(reason(&status), (Code::FailedPrecondition, "WRITE_MAY_BE_LOST".into(), false));
    let (kept_token, lost_token) = (token(&kept), token(&lost));
    let (kept_token, lost_token) =
        ([("consistency-token", &*kept_token)], [("consistency-token", &*lost_token)]);
    let (kept, lost) = (kept.into_inner().id, lost.into_inner().id);
    // A new client without a token.
    let address = format!("http://{}", server.address());
    let mut books = BookServiceClient::connect(address).await.expect("a connection");
    let by = read(&mut books, &kept, &kept_token).await.expect("the kept book");
    assert_eq!(by, "primary");
    let status = read(&mut books, &lost, &lost_token).await.expect_err("a lost write");
    assert_eq!(reason(&status).1, "WRITE_MAY_BE_LOST", "{status:?}");
    let status = read(&mut books, &lost, &[]).await.expect_err("a missing resource");
    assert_eq!(status.code(), Code::NotFound);

    // A role that may not read timeline histories can't verify tokens.
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) FROM bookstore_owner";
    cluster.execute(1, revoke).await;
    let another = serve(&cluster, "10s").await;
    let status = read(&mut client::books(&another), &kept, &kept_token).await;
    let status = status.expect_err("no history");
    assert_eq!(reason(&status).1, "TOKEN_UNVERIFIABLE", "{status:?}");
}

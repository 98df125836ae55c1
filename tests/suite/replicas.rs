//! A primary and its replicas: who answers, what is waited for, and what a failover costs.

use std::time::Duration;

use bookstore_proto::v1::{Book, GetBookRequest, book_service_client::BookServiceClient};
use bookstore_tests::{Engine, Replicated, TestServer, run, until};
use tonic::{Code, Request, Response, Status, metadata::AsciiMetadataValue, transport::Channel};
use tonic_types::StatusExt;

use crate::client;

/// How long anything may take on a small machine.
const SOON: Duration = Duration::from_secs(30);

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
    metadata: &[(&'static str, AsciiMetadataValue)],
) -> Result<String, Status> {
    let mut request = Request::new(GetBookRequest { id: id.to_owned(), ..Default::default() });
    for (key, value) in metadata {
        request.metadata_mut().insert(*key, value.clone());
    }
    let answer = books.get_book(request).await?;
    let by = answer.metadata().get("served-by").expect("a node");
    Ok(by.to_str().expect("ASCII").to_owned())
}

fn eventual() -> [(&'static str, AsciiMetadataValue); 1] {
    [("consistency", AsciiMetadataValue::from_static("eventual"))]
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
        read(&mut books, id, &eventual()).await.expect("a read") == node
    })
    .await;
}

#[tokio::test]
async fn no_read_fails_with_a_replica() {
    let mut cluster = Replicated::start(2).await;
    let server = serve(&cluster, "10s").await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    let (first, second) = (cluster.name(1), cluster.name(2));
    answers(&server, &id, &first).await;
    answers(&server, &id, &second).await;
    let strong = [("consistency", AsciiMetadataValue::from_static("strong"))];
    let by = read(&mut client::books(&server), &id, &strong).await.expect("a read");
    assert_eq!(by, "primary");

    // A frozen one closes nothing; a killed one closes everything.
    let mut books = client::books(&server);
    let mut reads_go_on = async |but: &str| {
        for _ in 0..40 {
            let by = read(&mut books, &id, &eventual()).await.expect("a read meanwhile");
            assert_ne!(by, but, "a node that doesn't answer has answered");
        }
    };
    cluster.freeze(1);
    reads_go_on(&first).await;
    cluster.thaw(1);
    answers(&server, &id, &first).await;
    cluster.kill(2).await;
    reads_go_on(&second).await;
    cluster.restart(2).await;
    answers(&server, &id, &second).await;

    // One that lags is asked for nothing but what it has.
    cluster.delay(1, Duration::from_mins(1)).await;
    cluster.delay(2, Duration::from_mins(1)).await;
    create(&server, "Emma").await.expect("a book");
    until("nobody asks replicas that lag", SOON, async || {
        read(&mut client::books(&server), &id, &eventual()).await.expect("a read") == "primary"
    })
    .await;

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
    let server = serve(&cluster, "2s").await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    cluster.caught_up(0, 1).await;
    answers(&server, &id, &cluster.name(1)).await;
    cluster.kill(0).await;
    let waiting = create(&server, "Emma").await.expect_err("no primary");
    assert_eq!(reason(&waiting), (Code::Unavailable, "DATABASE_UNAVAILABLE".into(), true));
    for metadata in [&[][..], &eventual()] {
        let by = read(&mut client::books(&server), &id, metadata).await.expect("a read");
        assert_eq!(by, cluster.name(1));
    }
    cluster.restart(0).await;
    until("writes are taken again", SOON, async || create(&server, "Ulysses").await.is_ok()).await;
}

/// A write that only the lost primary had is told of, and one that its successor has is found.
#[tokio::test]
async fn a_token_of_before_a_failover_is_verified() {
    let mut cluster = Replicated::start(1).await;
    let server = serve(&cluster, "10s").await;
    let token = |answer: &Response<Book>| {
        let token = answer.metadata().get("consistency-token").expect("a token").clone();
        [("consistency-token", token)]
    };
    let kept = create(&server, "Dune").await.expect("a book");
    cluster.caught_up(0, 1).await;
    cluster.kill(1).await;
    let lost = create(&server, "Emma").await.expect("a book");
    cluster.kill(0).await;
    cluster.restart(1).await;
    cluster.promote(1).await;
    let (kept_token, lost_token) = (token(&kept), token(&lost));
    let (kept, lost) = (kept.into_inner().id, lost.into_inner().id);
    // A new client: the session of the old one has seen the lost write as well.
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

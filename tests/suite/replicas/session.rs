//! What a session is promised when connections are lost: it sees its writes, and an error reports
//! lost ones.

use std::time::Duration;

use bookstore_proto::v1::{
    Begin, Book, Commit, GetBookRequest, GetOutcomeRequest, Outcome, TransactRequest,
    transact_request::Step, transact_response::Step as Answer,
    transaction_service_client::TransactionServiceClient,
};
use bookstore_tests::{
    Engine, Line, Replicated, SOON, Side, TestServer,
    frames::{
        DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, frame, headers, prefixed,
    },
    until,
};
use prost::Message;
use prost_types::Any;
use tonic::{Request, Response, Status, transport::Channel};
use uuid::Uuid;

use super::{Metadata, STRONG, create, reason, serve};
use crate::client::{self, message};

/// PostgreSQL's answer to COMMIT (55.7. Message Formats: CommandComplete).
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

type Books = bookstore_proto::v1::book_service_client::BookServiceClient<Channel>;

async fn retitle(books: &mut Books, id: &str, title: &str) -> Result<Response<Book>, Status> {
    let book = serde_json::json!({"id": id, "title": title});
    books
        .update_book(message::<bookstore_proto::v1::UpdateBookRequest>(
            serde_json::json!({"book": book, "update_mask": "title"}),
        ))
        .await
}

async fn title(books: &mut Books, id: &str, metadata: Metadata) -> Result<String, Status> {
    let mut request = Request::new(GetBookRequest { id: id.to_owned(), ..Default::default() });
    for (key, value) in metadata {
        request.metadata_mut().insert(*key, value.parse().expect("ASCII"));
    }
    Ok(books.get_book(request).await?.into_inner().title)
}

/// Reads a title in a read-only transaction, in the session of all clients of the server.
async fn title_in_transaction(server: &TestServer, id: &str) -> Result<String, Status> {
    let get = GetBookRequest { id: id.to_owned(), ..Default::default() };
    let steps = [
        Step::Begin(Begin { read_only: true, ..Begin::default() }),
        Step::Request(Any::from_msg(&get).expect("a message")),
        Step::Commit(Commit {}),
    ];
    let steps = steps.map(|step| TransactRequest { step: Some(step) });
    let mut transactions = TransactionServiceClient::new(server.channel());
    let mut answers = transactions.transact(tokio_stream::iter(steps)).await?.into_inner();
    let mut title = None;
    while let Some(answer) = answers.message().await? {
        if let Some(Answer::Response(book)) = answer.step {
            title = Some(book.to_msg::<Book>().expect("a book").title);
        }
    }
    Ok(title.expect("an answer"))
}

/// A primary behind a line, and a replica that replays a minute late.
async fn late_replica() -> (Replicated, Line, TestServer, String) {
    let cluster = Replicated::start(1).await;
    let line = Line::to_url(cluster.url("bookstore_app", 0)).await;
    let server = TestServer::builder(Engine::Postgres)
        .url(line.url())
        .env("DATABASE_REPLICA_URLS", &cluster.url("bookstore_app", 1))
        .env("DATABASE_REPLICA_MAX_LAG", "1h")
        .start()
        .await;
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    cluster.caught_up(0, 1).await;
    super::answers(&server, &id, &cluster.name(1)).await;
    cluster.delay(1, Duration::from_mins(1)).await;
    (cluster, line, server, id)
}

/// The connection ends behind the answer to COMMIT, so the write's position isn't known.
#[tokio::test]
async fn write_whose_position_is_lost_is_seen_by_its_session() {
    let (_cluster, line, server, id) = late_replica().await;
    let mut books = client::books(&server);
    line.end_at_answer(COMMITTED, Side::Behind);
    let written = retitle(&mut books, &id, "Emma").await.expect("an acknowledged write");
    assert!(written.metadata().contains_key("consistency-token"), "{written:?}");
    assert_eq!(title(&mut books, &id, &[]).await.expect("a read"), "Emma");
    // No connection is left that could tell the position.
    let mut writer = books.clone();
    let write = retitle(&mut writer, &id, "Persuasion");
    line.cut_behind_answer(COMMITTED);
    write.await.expect("an acknowledged write");
    line.restore();
    let read = async || title(&mut client::books(&server), &id, &[]).await;
    until("the primary answers", SOON, async || read().await.is_ok()).await;
    assert_eq!(read().await.expect("a read"), "Persuasion");
}

/// The connection ends before the answer to COMMIT: the session's next read sees the write.
#[tokio::test]
async fn unknown_commit_is_seen_by_its_session() {
    let (_cluster, line, server, id) = late_replica().await;
    let mut books = client::books(&server);
    line.end_at_answer(COMMITTED, Side::Before);
    let status = retitle(&mut books, &id, "Emma").await.expect_err("an unknown outcome");
    assert_eq!(reason(&status).1, "COMMIT_OUTCOME_UNKNOWN");
    assert!(status.message().contains("GetOutcome"), "{status:?}");
    assert_eq!(title(&mut books, &id, &[]).await.expect("a read"), "Emma");
}

/// Every connection is cut while COMMIT is on its way. Whatever has happened by the session's next
/// read, nothing happens after it.
#[tokio::test]
async fn read_after_an_unknown_commit_is_the_last_word() {
    let (cluster, line, server, id) = late_replica().await;
    let mut books = client::books(&server);
    line.cut_at(b"COMMIT; SELECT");
    let mut writer = books.clone();
    let write = retitle(&mut writer, &id, "Emma");
    let restored = async {
        line.is_cut().await;
        line.restore();
    };
    let (written, ()) = tokio::join!(write, restored);
    written.expect_err("an unknown outcome");
    let seen = title(&mut books, &id, &[]).await.expect("a read");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                    AND xact_start IS NOT NULL AND state LIKE 'idle in transaction%'";
    assert_eq!(cluster.value(0, sessions).await, "0", "the transaction has ended");
    let now = cluster.value(0, "SELECT title FROM books").await;
    assert_eq!(now, seen, "the read was the last word");
}

/// A failover loses a write. Whatever the session does first, its next read says so, once.
#[tokio::test]
async fn lost_write_is_reported_whatever_came_first() {
    for first in ["read", "strong read", "write", "read-only transaction"] {
        let mut cluster = Replicated::start(1).await;
        let server = serve(&cluster, "30s").await;
        let id = create(&server, "Dune").await.expect("a book").into_inner().id;
        cluster.caught_up(0, 1).await;
        cluster.execute(1, "ALTER SYSTEM SET primary_conninfo = ''; SELECT pg_reload_conf()").await;
        until("the replica receives nothing", SOON, async || {
            cluster.value(0, "SELECT count(*) FROM pg_stat_replication").await == "0"
        })
        .await;
        let mut books = client::books(&server);
        retitle(&mut books, &id, "lost").await.expect("an acknowledged write");
        cluster.kill(0).await;
        cluster.promote(1).await;
        match first {
            "strong read" => {
                let title = title(&mut books, &id, STRONG).await.expect("a strong read");
                assert_eq!(title, "Dune", "the write is lost");
            }
            "write" => drop(create(&server, "Emma").await.expect("a write")),
            _ => {}
        }
        let read = match first {
            "read-only transaction" => title_in_transaction(&server, &id).await,
            _ => title(&mut books, &id, &[]).await,
        };
        let status = read.expect_err("a lost write");
        assert_eq!(reason(&status).1, "WRITE_MAY_BE_LOST", "{first}: {status:?}");
        let title = title(&mut books, &id, &[]).await.expect("a read without the lost position");
        assert_eq!(title, "Dune", "{first}");
    }
}

/// A commit waits for a synchronous replica that stands still, beyond its caller's deadline. Its
/// outcome is in progress, and the session's read sees the write when it has happened.
#[tokio::test]
async fn commit_that_waits_for_a_replica_has_an_outcome() {
    let cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres);
    let server = server.url(&cluster.url("bookstore_app", 0)).start().await;
    let mut books = client::books(&server);
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    let wait = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'; SELECT pg_reload_conf()";
    cluster.execute(0, wait).await;
    retitle(&mut books, &id, "Emma").await.expect("a write that the replica has");
    cluster.freeze(1);
    let key = Uuid::new_v4().to_string();
    let mut late: Request<bookstore_proto::v1::UpdateBookRequest> = Request::new(message(
        serde_json::json!({"book": {"id": id, "title": "Persuasion"}, "update_mask": "title"}),
    ));
    late.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
    late.set_timeout(Duration::from_secs(1));
    books.update_book(late).await.expect_err("a deadline that passes");
    let mut outcomes = TransactionServiceClient::new(server.channel());
    let mut outcome = async || {
        let ask = GetOutcomeRequest { idempotency_key: key.clone(), fence: true };
        outcomes.get_outcome(ask).await.expect("an outcome").into_inner().outcome()
    };
    assert_eq!(outcome().await, Outcome::InProgress);
    cluster.thaw(1);
    until("the write has happened", SOON, async || outcome().await == Outcome::Committed).await;
    assert_eq!(title(&mut books, &id, &[]).await.expect("a read"), "Persuasion");
}

/// A write whose caller leaves during COMMIT: the session's next read waits for its end.
#[tokio::test]
async fn read_after_a_passed_deadline_sees_the_write() {
    for in_transaction in [false, true] {
        let (_cluster, line, server, id) = late_replica().await;
        let mut books = client::books(&server);
        line.freeze_at(b"COMMIT; SELECT");
        let mut request: Request<bookstore_proto::v1::UpdateBookRequest> = Request::new(message(
            serde_json::json!({"book": {"id": id, "title": "Emma"}, "update_mask": "title"}),
        ));
        request.set_timeout(Duration::from_millis(700));
        books.update_book(request).await.expect_err("a deadline that passes");
        let read = async {
            match in_transaction {
                true => title_in_transaction(&server, &id).await,
                false => title(&mut books, &id, &[]).await,
            }
        };
        let restore = async { line.restore() };
        let (read, ()) = tokio::join!(read, restore);
        assert_eq!(read.expect("a read"), "Emma", "in a transaction: {in_transaction}");
    }
}

/// A cancellation and a read of the same session come at once, while the answer to COMMIT is held.
#[tokio::test]
async fn read_that_comes_with_a_cancellation_sees_the_write() {
    let (_cluster, line, server, id) = late_replica().await;
    let path = |method: &str| headers(&format!("/bookstore.v1.BookService/{method}"), &[]);
    let (write, read) = (1, 3);
    for number in 0..50 {
        // A session that has read nothing yet may read at the replica.
        let mut connection = Frames::open(server.address()).await;
        let title = format!("Emma {number}");
        let update: bookstore_proto::v1::UpdateBookRequest = message(serde_json::json!({
            "book": {"id": id, "title": title}, "update_mask": "title",
        }));
        let get = GetBookRequest { id: id.clone(), ..Default::default() };
        line.freeze_at(b"COMMIT; SELECT");
        connection
            .send(&[
                frame(HEADERS, END_HEADERS, write, &path("UpdateBook")),
                frame(DATA, END_STREAM, write, &prefixed(&update.encode_to_vec())),
            ])
            .await;
        line.is_frozen().await;
        connection
            .send(&[
                frame(RST_STREAM, 0, write, &8_u32.to_be_bytes()),
                frame(HEADERS, END_HEADERS, read, &path("GetBook")),
                frame(DATA, END_STREAM, read, &prefixed(&get.encode_to_vec())),
            ])
            .await;
        line.restore();
        let answer = loop {
            let frame = connection.until(DATA).await;
            if frame.stream == read && !frame.payload.is_empty() {
                break frame.payload;
            }
        };
        let book = Book::decode(&answer[5..]).expect("a book in one frame");
        assert_eq!(book.title, title);
    }
}

/// A commit waits for a synchronous replica, and its caller has left: the session's next read waits
/// for its end, and sees the write.
#[tokio::test]
async fn read_waits_for_a_commit_whose_caller_has_left() {
    let cluster = Replicated::start(1).await;
    let server = TestServer::builder(Engine::Postgres);
    let server = server.url(&cluster.url("bookstore_app", 0)).start().await;
    let mut books = client::books(&server);
    let id = create(&server, "Dune").await.expect("a book").into_inner().id;
    let wait = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'; SELECT pg_reload_conf()";
    cluster.execute(0, wait).await;
    retitle(&mut books, &id, "Emma").await.expect("a write that the replica has");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    for (number, in_transaction) in [false, true].into_iter().enumerate() {
        cluster.freeze(1);
        let new = format!("Persuasion {number}");
        let mut late: Request<bookstore_proto::v1::UpdateBookRequest> = Request::new(message(
            serde_json::json!({"book": {"id": id, "title": new}, "update_mask": "title"}),
        ));
        late.set_timeout(Duration::from_secs(1));
        books.update_book(late).await.expect_err("a deadline that passes");
        assert_eq!(cluster.value(0, waits).await, "1", "the commit waits");
        let read = async {
            match in_transaction {
                true => title_in_transaction(&server, &id).await,
                false => title(&mut books, &id, &[]).await,
            }
        };
        tokio::pin!(read);
        // The shortest time that shows a wait. A read that does not wait takes a part of it.
        let early = tokio::time::timeout(Duration::from_millis(100), &mut read).await;
        assert!(early.is_err(), "it has not waited, and has read {early:?}");
        cluster.thaw(1);
        assert_eq!(read.await.expect("a read"), new, "in a transaction: {in_transaction}");
    }
}

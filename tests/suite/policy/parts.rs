//! Calls with parts of several methods: what one part may not, the whole call does not, and nothing
//! else is said about it.

use bookstore_proto::v1::{ExecuteRequest, ImportBooksRequest, book_transfer_service_client};
use bookstore_tests::{AccessFiles, Engine, SOON, TestServer, on_every_engine, policy, until};
use prost::Message;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use super::{bearer, call, start};
use crate::{
    bad_input::{descriptor, rows, send},
    client::{Refusal, a_book, dynamic, id, message},
    credentials::{audited, audited_with},
    list::statements,
    transact::Led,
};

on_every_engine!(
    execute_names_the_forbidden_entry_and_sends_nothing,
    a_forbidden_step_fails_alone,
    an_import_needs_the_lines_of_what_it_does,
    a_replay_of_execute_is_judged_by_the_entries_of_now,
);

/// A request of a method as an entry.
fn entry(method: &str, request: Value) -> Any {
    let input = descriptor(method).input();
    let type_url = format!("type.googleapis.com/{}", input.full_name());
    Any { type_url, value: dynamic(input, request).encode_to_vec() }
}

fn category(number: u32) -> Any {
    let request = json!({"id": id(number), "category": {"name": format!("C{number}")}});
    entry("CategoryService/CreateCategory", request)
}

/// A policy in which members may do all but these.
fn all_but(forbidden: &[&str]) -> String {
    let rule = |method: &str| match forbidden.contains(&method) {
        true => "other".to_owned(),
        false => "member other".to_owned(),
    };
    policy(rule, "")
}

/// Three allowed entries, a forbidden one and a malformed one.
async fn execute_names_the_forbidden_entry_and_sends_nothing(engine: Engine) {
    let files = AccessFiles::new(&all_but(&["BookService/DeleteBook"]));
    let header = bearer(&files.token("ada"));
    let builder = files.apply(TestServer::builder(engine)).env("DATABASE_ECHO", "true");
    let server = builder.start().await;
    let before = rows(&server).await;
    let mut requests: Vec<Any> = (1..=3).map(category).collect();
    requests.push(entry("BookService/DeleteBook", json!({"id": id(9), "etag": "x"})));
    let type_url = "type.googleapis.com/bookstore.v1.CreateBookRequest".to_owned();
    requests.push(Any { type_url, value: vec![0xff] });
    let body = ExecuteRequest { requests }.encode_to_vec();
    let path = "/bookstore.v1.TransactionService/Execute";
    for options in [
        &[][..],
        &[("validate-only", "true")],
        &[("idempotency-key", "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e")],
    ] {
        let metadata =
            [options, &[("authorization", header.as_str()), ("request-id", "forbidden")]].concat();
        let answer = send(server.channel(), path, body.clone(), &metadata).await;
        let refusal = Refusal::from(&answer.expect_err("an entry is forbidden"));
        refusal.is(Code::PermissionDenied, "METHOD_FORBIDDEN", &["requests[3]"]);
        refusal.says("method", "bookstore.v1.BookService/DeleteBook").says("index", "3");
    }
    assert_eq!(statements(&server, "forbidden").await, [""; 0]);
    assert_eq!(rows(&server).await, before);
    until("each refusal has a line", SOON, async || audited(&server, "refused").len() == 3).await;
    let lines = audited(&server, "refused");
    assert_eq!(lines[0]["method"], "bookstore.v1.BookService/DeleteBook");
    assert_eq!(lines[0]["principal"], "token:ada");
    assert_eq!(lines[0]["request_id"], "forbidden");
}

async fn a_forbidden_step_fails_alone(engine: Engine) {
    let files = AccessFiles::new(&all_but(&["BookService/CreateBook"]));
    let header = bearer(&files.token("ada"));
    let server = start(engine, &files).await;
    let begin = bookstore_proto::v1::transact_request::Step::Begin(Default::default());
    let mut led = Led::open_with(server.address(), &[("authorization", &header)]).await;
    led.step(begin).await.expect("begun");
    let create =
        |number: u32| json!({"id": id(number), "category": {"name": format!("C{number}")}});
    led.call("CategoryService/CreateCategory", create(1)).await.expect("a category");
    let book = json!({"id": id(9), "book": a_book("never")});
    let refusal = led.call("BookService/CreateBook", book).await.expect_err("forbidden");
    refusal.is(Code::PermissionDenied, "METHOD_FORBIDDEN", &["request"]);
    led.call("CategoryService/CreateCategory", create(2)).await.expect("a category");
    led.commit().await.expect("committed");
    let names = server.sql("SELECT name FROM categories WHERE name IN ('C1', 'C2')").await;
    assert_eq!(names.len(), 2);
    assert!(server.sql("SELECT id FROM books").await.is_empty());
    assert_eq!(audited_with(&server, "refused", |_| true).await.len(), 1);
}

/// Imports a row; returns the end of the stream.
async fn import(server: &TestServer, token: &str, mode: &str) -> Result<(), Status> {
    let (messages, stream) = mpsc::channel(4);
    let mut request = Request::new(ReceiverStream::new(stream));
    let header = bearer(token).parse().expect("ASCII");
    request.metadata_mut().insert("authorization", header);
    let options = json!({"import_id": uuid::Uuid::new_v4().to_string(), "mode": mode});
    let row = json!({"line": "1", "id": id(1), "book": a_book("Imported")});
    for step in [json!({"options": options}), json!({"batch": {"number": "1", "rows": [row]}})] {
        messages.send(message::<ImportBooksRequest>(step)).await.expect("room");
    }
    let channel = server.channel();
    let mut client = book_transfer_service_client::BookTransferServiceClient::new(channel);
    let mut answers = client.import_books(request).await?.into_inner();
    answers.message().await.map(drop)
}

async fn an_import_needs_the_lines_of_what_it_does(engine: Engine) {
    const INSERT: &str = "IMPORT_MODE_INSERT";
    const UPSERT: &str = "IMPORT_MODE_UPSERT";
    let cases = [
        ("BookService/BatchCreateBooks", "BookService/BatchCreateBooks", false, false),
        ("BookService/CreateBook", "BookService/BatchCreateBooks", false, false),
        ("BookService/BatchUpdateBooks", "BookService/BatchUpdateBooks", true, false),
        ("BookService/UpdateBook", "BookService/BatchUpdateBooks", true, false),
        ("BookService/DeleteBook", "", true, true),
        ("BookTransferService/ImportBooks", "BookTransferService/ImportBooks", false, false),
    ];
    for (forbidden, at_fault, inserts, upserts) in cases {
        let files = AccessFiles::new(&all_but(&[forbidden]));
        let token = files.token("ada");
        let server = start(engine, &files).await;
        for (mode, passes) in [(UPSERT, upserts), (INSERT, inserts)] {
            let books = async || server.sql("SELECT id FROM books").await.len();
            let before = books().await;
            match import(&server, &token, mode).await {
                Ok(()) => {
                    assert!(passes, "{mode} without {forbidden} passes");
                    assert_eq!(books().await, 1);
                }
                Err(status) => {
                    let refusal = Refusal::from(&status);
                    assert!(!passes, "{mode} without {forbidden}: {refusal:?}");
                    assert_eq!(refusal.reason, "METHOD_FORBIDDEN", "{refusal:?}");
                    refusal.says("method", &format!("bookstore.v1.{at_fault}"));
                    assert_eq!(books().await, before);
                }
            }
        }
    }
}

async fn a_replay_of_execute_is_judged_by_the_entries_of_now(engine: Engine) {
    let files = AccessFiles::new(&all_but(&[]));
    let token = files.token("ada");
    let server = start(engine, &files).await;
    let body = ExecuteRequest { requests: vec![category(1)] }.encode_to_vec();
    let header = bearer(&token);
    let key = "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7f";
    let metadata = [("authorization", header.as_str()), ("idempotency-key", key)];
    let path = "/bookstore.v1.TransactionService/Execute";
    send(server.channel(), path, body.clone(), &metadata).await.expect("a category");
    files.set_policy(&all_but(&["CategoryService/CreateCategory"]));
    server.logs().wait_for(|line| line.contains("files have changed and are in force")).await;
    let answer = send(server.channel(), path, body, &metadata).await;
    let refusal = Refusal::from(&answer.expect_err("a replay"));
    refusal.is(Code::PermissionDenied, "METHOD_FORBIDDEN", &["requests[0]"]);
    // The rest goes on.
    call(&server, "CategoryService/ListCategories", &[], &token).await.expect("a list");
}

//! Callers that send half of something, or nothing more.

use std::time::{Duration, Instant};

use bookstore_proto::v1::ExecuteRequest;
use bookstore_tests::{Engine, SOON, TestServer, on_every_engine, raw};
use serde_json::json;
use tonic::Code;
use tower::ServiceExt;

use super::{call, encoded, endless, request, status};
use crate::client::{Refusal, id};

on_every_engine!(a_stream_that_says_nothing_is_ended, half_sent_requests_have_a_budget);

const IMPORT: &str = "/bookstore.v1.BookTransferService/ImportBooks";
const BATCH: &str = "/bookstore.v1.BookService/BatchCreateBooks";

async fn a_stream_that_says_nothing_is_ended(engine: Engine) {
    let server = TestServer::builder(engine).env("STREAM_IDLE_TIMEOUT", "1s").start().await;
    let connection = raw(server.address()).await;
    let (_held, body) = endless();
    let began = Instant::now();
    let answer = connection.oneshot(request(IMPORT, body)).await.expect("an answer");
    let status = tokio::time::timeout(SOON, status(answer)).await.expect("an end");
    let status = status.expect("a status");
    Refusal::from(&status).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
    assert!(status.message().contains("stream_idle_timeout"), "{status:?}");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

async fn half_sent_requests_have_a_budget(engine: Engine) {
    let server = TestServer::builder(engine).env("MAX_MESSAGE_SIZE", "256KiB");
    let server = server.env("MAX_CONNECTION_BYTES", "512KiB").start().await;
    let connection = raw(server.address()).await;
    // What is announced is charged before it comes: two of them fit.
    let announced: u32 = 200 * 1024;
    let prefix = [&[0][..], &announced.to_be_bytes()].concat();
    let mut held = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..4 {
        let (sender, body) = endless();
        sender.send(Ok(prefix.clone())).await.expect("a body that is read");
        held.push(sender);
        calls.push(tokio::spawn(connection.clone().oneshot(request(BATCH, body))));
    }
    let mut refused = 0;
    for call in calls {
        // Those that found room wait for their bytes, within request_timeout.
        let answer = tokio::time::timeout(Duration::from_secs(4), call).await;
        let Ok(answer) = answer else { continue };
        let answer = answer.expect("no panic").expect("an answer");
        let status = status(answer).await.expect("a status");
        Refusal::from(&status).is(Code::ResourceExhausted, "OVERLOADED", &[]);
        refused += 1;
    }
    assert_eq!(refused, 2, "two of four have room");
    let get = call(&server, "BookService/GetBook", json!({"id": id(1)})).await;
    assert_eq!(get.expect_err("no such book").code(), Code::NotFound, "others are answered");
}

/// On one engine: nothing of it comes to the database.
#[tokio::test]
async fn what_a_request_decodes_to_has_a_budget() {
    let server = TestServer::builder(Engine::Sqlite).env("MAX_MESSAGE_SIZE", "64KiB");
    let server = server.env("MAX_DECODED_BYTES", "1MiB").start().await;
    let batch = |count: usize| {
        let requests = vec![json!({}); count];
        let value = encoded("BookService/BatchCreateBooks", json!({"requests": requests}));
        let type_url = "type.googleapis.com/bookstore.v1.BatchCreateBooksRequest".to_owned();
        prost_types::Any { type_url, value }
    };
    let ask = async |count| {
        let execute = ExecuteRequest { requests: vec![batch(100); count] };
        let path = "/bookstore.v1.TransactionService/Execute";
        let body = prost::Message::encode_to_vec(&execute);
        let refused = crate::bad_input::send(server.channel(), path, body, &[]).await;
        Refusal::from(&refused.expect_err("empty requests"))
    };
    assert_eq!(ask(1).await.code, Code::InvalidArgument, "it is decoded, and books need a title");
    ask(20).await.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
}

/// On PostgreSQL: two connections, of which lists have one.
#[tokio::test]
async fn lists_that_wait_leave_room_for_others() {
    let server = TestServer::builder(Engine::Postgres).env("DATABASE_POOL_SIZE", "2");
    let server = server.env("DATABASE_MAX_OVERFLOW", "0").env("DATABASE_POOL_TIMEOUT", "5s");
    let server = server.start().await;
    let database = server.database();
    let held = crate::lifecycle::Held::table(&database).await;
    let list = || {
        let (channel, body) = (server.channel(), encoded("BookService/ListBooks", json!({})));
        tokio::spawn(async move {
            crate::bad_input::send(channel, "/bookstore.v1.BookService/ListBooks", body, &[]).await
        })
    };
    let lists = [list(), list(), list()];
    crate::lifecycle::waits_for_lock(&database).await;
    let began = Instant::now();
    let get = call(&server, "CategoryService/GetCategory", json!({"id": id(1)})).await;
    assert_eq!(get.expect_err("no such category").code(), Code::NotFound);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    held.release().await;
    for list in lists {
        list.await.expect("no panic").expect("a list");
    }
}

//! What is stored under idempotency keys: large answers as ids, keys and bytes within limits.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use crate::{
    client::{a_book, id, with},
    idempotency::call,
};

on_every_engine!(
    a_large_answer_is_stored_as_ids_and_read_again,
    keys_are_counted_fences_too,
    answers_are_counted_by_their_bytes,
);

const BATCH: &str = "BookService/BatchCreateBooks";
const CREATE: &str = "BookService/CreateBook";
const OUTCOME: &str = "TransactionService/GetOutcome";

fn key() -> String {
    Uuid::new_v4().to_string()
}

/// A batch of books with descriptions of a kilobyte.
fn batch(count: u32) -> Value {
    let one = |n: u32| {
        let book = with(a_book(&format!("Book {n}")), json!({"description": "d".repeat(1_000)}));
        json!({"book": book, "id": id(n)})
    };
    json!({"requests": (1..=count).map(one).collect::<Vec<_>>()})
}

async fn a_large_answer_is_stored_as_ids_and_read_again(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (key, request) = (key(), batch(300));
    let metadata = [("idempotency-key", key.as_str())];
    let first = call(&server, BATCH, request.clone(), &metadata).await.expect("300 books");
    assert!(!first.replayed);
    let stored = server.sql("SELECT LENGTH(answer) FROM idempotency_keys").await;
    let stored: usize = stored[0][0].as_deref().expect("a length").parse().expect("a number");
    assert!(stored < 64 * 1024, "{stored} bytes are stored of more than 300 kB");
    let again = call(&server, BATCH, request.clone(), &metadata).await.expect("the same answer");
    assert!(again.replayed);
    assert_eq!(again.body, first.body);
    // What was deleted since is an id; the others are there.
    call(&server, "BookService/DeleteBook", json!({"id": id(7)}), &[]).await.expect("deleted");
    let again = call(&server, BATCH, request, &metadata).await.expect("the answer without one");
    let (books, before) = (&again.body["books"], &first.body["books"]);
    assert_eq!(books[6], json!({"id": id(7)}));
    assert_eq!((&books[5], &books[7]), (&before[5], &before[7]));
    let outcome = call(&server, OUTCOME, json!({"idempotency_key": key}), &[]).await;
    let outcome = outcome.expect("an outcome").body;
    assert_eq!(outcome["response"]["books"][5], json!({"id": id(6)}), "an outcome has ids alone");
}

async fn keys_are_counted_fences_too(engine: Engine) {
    // A connection may store a quarter.
    let server = TestServer::builder(engine).env("IDEMPOTENCY_MAX_KEYS", "8").start().await;
    let create = async |key: &str| {
        call(&server, CREATE, json!({"book": a_book("Dune")}), &[("idempotency-key", key)]).await
    };
    let first = key();
    create(&first).await.expect("the first key");
    let fence = json!({"idempotency_key": key(), "fence": true});
    call(&server, OUTCOME, fence, &[]).await.expect("a fence, which is the second");
    let refused = create(&key()).await.err().expect("a third one");
    refused.is(Code::ResourceExhausted, "OVERLOADED", &[]);
    let fence = json!({"idempotency_key": key(), "fence": true});
    let refused = call(&server, OUTCOME, fence, &[]).await.err().expect("a third one");
    refused.is(Code::ResourceExhausted, "OVERLOADED", &[]);
    assert_eq!(server.sql("SELECT id FROM books").await.len(), 1, "what was refused is undone");
    assert!(create(&first).await.expect("a replay stores nothing").replayed);
    call(&server, CREATE, json!({"book": a_book("Dune")}), &[]).await.expect("no key");
}

async fn answers_are_counted_by_their_bytes(engine: Engine) {
    // A connection may store 256 KiB.
    let server = TestServer::builder(engine).env("IDEMPOTENCY_MAX_BYTES", "1MiB").start().await;
    let create = async || {
        let book = with(a_book("Dune"), json!({"description": "d".repeat(9_000)}));
        call(&server, CREATE, json!({"book": book}), &[("idempotency-key", &key())]).await
    };
    for _ in 0..26 {
        create().await.expect("some 240 kB together");
    }
    // Two more or three, by what else is in an answer.
    let mut refused = None;
    for _ in 0..3 {
        refused = refused.or(create().await.err());
    }
    let refused = refused.expect("more than 256 KiB");
    refused.is(Code::ResourceExhausted, "OVERLOADED", &[]);
}

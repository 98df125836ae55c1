//! Execute and Transact through the client's helpers.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bookstore_client::{
    CallOptions, Error, Start, Uuid,
    v1::{Begin, Book, Category, CreateCategoryRequest, ErrorReason, GetBookRequest},
};
use bookstore_tests::{Engine, Line, TestServer, on_every_engine, until};

use super::{SOON, connect, fill, order, url, writes::cut_and_wait};
use crate::client;

on_every_engine!(
    client_execute_applies_all_writes_or_none,
    client_transact_commits_or_rolls_back_its_work,
    transaction_with_a_lost_commit_answer_is_applied_once,
);

fn category(name: &str) -> CreateCategoryRequest {
    let category = Category { name: name.to_owned(), ..Category::default() };
    CreateCategoryRequest { category: Some(category), id: String::new() }
}

async fn client_execute_applies_all_writes_or_none(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = connect(url(&server));
    let key = Uuid::new_v4();
    let execute = || {
        let both = client.execute().request(&category("Poetry"));
        let both = both.request(&client::create(&client::id(1), client::a_book("Dune")));
        both.with(|call| call.idempotency_key(key))
    };
    let answers = execute().send().await.expect("both");
    assert_eq!((answers.len(), answers.is_empty()), (2, false));
    assert_eq!(answers.get::<Category>(0).expect("a category").name, "Poetry");
    assert_eq!(answers.get::<Book>(1).expect("a book").id, client::id(1));
    assert!(answers.get::<Book>(0).is_err() && answers.get::<Book>(2).is_err());
    let again = execute().send().await.expect("the same again");
    assert_eq!(again.get::<Category>(0).expect("a category"), answers.get(0).expect("a category"));
    let taken =
        client.execute().request(&category("Travel")).request(&category("Poetry")).send().await;
    let error = taken.expect_err("a name that is taken");
    assert!(error.is(ErrorReason::ResourceAlreadyExists), "{error:?}");
    assert_eq!(error.metadata().get("index").map(String::as_str), Some("1"));
    let made = "SELECT count(*) FROM categories WHERE name IN ('Poetry', 'Travel')";
    assert_eq!(server.database().value(made).await, "1");
}

async fn client_transact_commits_or_rolls_back_its_work(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = connect(url(&server));
    let Start::Open(mut transaction, begun) =
        client.begin(Begin::default(), None).await.expect("a transaction")
    else {
        panic!("an answer without a key is not replayed")
    };
    assert!(begun.timeout_ms > 0);
    let made: Category = transaction.call(&category("Poetry")).await.expect("a category");
    assert_eq!(made.name, "Poetry");
    transaction.savepoint("before").await.expect("a savepoint");
    let _: Category = transaction.call(&category("Travel")).await.expect("a category");
    transaction.rollback_to("before").await.expect("a savepoint");
    let taken = transaction.call::<_, Category>(&category("Poetry")).await;
    let error = taken.expect_err("a name that is taken");
    assert!(error.is(ErrorReason::ResourceAlreadyExists), "{error:?}");
    assert!(!error.field_violations().is_empty() && !error.may_have_happened());
    transaction.commit().await.expect("a commit");
    let made = "SELECT count(*) FROM categories WHERE name IN ('Poetry', 'Travel')";
    assert_eq!(server.database().value(made).await, "1");
    assert!(client.session().token().is_some());

    // An error of the function rolls back, and is returned.
    let failed = client
        .transact(Begin::default(), Duration::from_secs(10), async |transaction| {
            let _: Category = transaction.call(&category("Travel")).await?;
            let get = GetBookRequest { id: client::id(9), ..Default::default() };
            transaction.call::<_, Book>(&get).await
        })
        .await;
    let error: Error = failed.expect_err("no such book");
    assert!(error.is(ErrorReason::ResourceNotFound), "{error:?}");
    assert_eq!(server.database().value(made).await, "1");
}

async fn transaction_with_a_lost_commit_answer_is_applied_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let line = Line::to_service(server.address()).await;
    let client = connect(line.url());
    fill(&client).await;
    let runs = AtomicU32::new(0);
    let placed = client.transact(Begin::default(), Duration::from_secs(30), async |transaction| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        let placed: bookstore_client::v1::Order =
            transaction.call(&order("1 Quiet Street")).await?;
        if run == 0 {
            // The commit is sent, and its answer is lost.
            line.freeze_at(COMMIT);
        }
        Ok(placed)
    });
    let (placed, ()) = tokio::join!(placed, async {
        until("the write is committed", SOON, async || {
            server.database().value("SELECT count(*) FROM orders").await == "1"
        })
        .await;
        cut_and_wait(&line, &client).await;
        line.restore();
    });
    let placed = placed.expect("an order");
    assert_eq!(runs.load(Ordering::Relaxed), 1, "it was committed in the first run");
    super::assert_orders(&server, 1).await;
    let id = client::literal(engine, &placed.id);
    let stored = format!("SELECT count(*) FROM orders WHERE id = {id}");
    assert_eq!(server.database().value(&stored).await, "1");
}

/// A message of Transact with a commit in a gRPC frame: uncompressed, two bytes long, field 5 of
/// length 0.
const COMMIT: &[u8] = &[0, 0, 0, 0, 2, 0x2a, 0];

//! `TransactionService`: several writes as one, and the outcome of writes.

use bookstore_tests::{Engine, TestServer, on_every_engine};
use futures_util::future::join_all;
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use crate::{
    admin,
    bad_input::{Case, bad, descriptor, populate, rows, send},
    client::{a_book, dynamic, id, with},
    idempotency::call,
    lifecycle::{Held, waits_for_lock},
    standard::{answer, refusal},
    user::a_user,
};

on_every_engine!(
    execute_applies_several_writes_as_one,
    execute_with_a_failing_entry_changes_nothing,
    violation_in_execute_names_its_entry,
    entries_of_execute_see_earlier_entries,
    conflicting_transactions_are_retried,
    outcome_of_a_key_is_reported,
    fenced_key_stays_fenced,
);

const EXECUTE: &str = "TransactionService/Execute";
const OUTCOME: &str = "TransactionService/GetOutcome";

/// A method's request as an entry.
fn entry(kind: &str, request: Value) -> Value {
    with(request, json!({"@type": format!("type.googleapis.com/bookstore.v1.{kind}Request")}))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let execute =
        |requests: Value, fields: &[&str]| bad(EXECUTE, json!({"requests": requests}), fields);
    cases.push(bad(EXECUTE, json!({}), &["requests"]));
    let fine = entry("DeleteBook", json!({"id": id(404), "allow_missing": true}));
    cases.push(execute(Value::from(vec![fine.clone(); 1_001]), &["requests"]));
    for other in ["GetBook", "ListBooks", "Execute", "GetOutcome", "VerifyPassword"] {
        cases.push(execute(json!([fine, entry(other, json!({}))]), &["requests[1]"]));
    }
    let any = |name: &str| json!({"@type": format!("type.googleapis.com/{name}")});
    cases.push(execute(json!([any("bookstore.v1.Book")]), &["requests[0]"]));
    let nested = json!({"@type": "type.googleapis.com/google.protobuf.Any",
        "value": entry("DeleteBook", json!({}))});
    cases.push(execute(json!([nested]), &["requests[0]"]));
    let several = json!([
        entry("CreateBook", json!({"book": {"title": "x", "stock": -1}})),
        fine,
        entry("BatchDeleteBooks", json!({"requests": [{"id": id(1)}, {"id": "x"}]})),
    ]);
    let fields = [
        "requests[0].book.author",
        "requests[0].book.price",
        "requests[0].book.stock",
        "requests[2].requests[1].id",
    ];
    cases.push(execute(several, &fields));
    let missing = json!([fine, entry("DeleteBook", json!({"id": id(404)}))]);
    cases.push(execute(missing, &["requests[1].id"]).missing());
    for step in ["commit", "rollback"] {
        cases.push(bad("TransactionService/Transact", json!({step: {}}), &["step"]));
    }
    cases.push(bad("TransactionService/Transact", json!({}), &["step"]));
    let begin = json!({"begin": {"timeout_ms": 60_001, "isolation": 9}});
    let fields = ["begin.timeout_ms", "begin.isolation"];
    cases.push(bad("TransactionService/Transact", begin, &fields));
    for key in ["", "x", "6E0A3C52-58CF-4F3E-8A4C-0F6B8F6A9B7E", "\0"] {
        cases.push(bad(OUTCOME, json!({"idempotency_key": key}), &["idempotency_key"]));
    }
    cases
}

async fn execute_applies_several_writes_as_one(engine: Engine) {
    let server = TestServer::start(engine).await;
    let requests = json!({"requests": [
        entry("CreateCategory", json!({"id": id(1), "category": {"name": "Poetry"}})),
        entry("CreateBook", json!({"id": id(2), "book": with(a_book("x"), json!({"category_id": id(1)}))})),
        entry("BatchCreateBooks", json!({"requests": [{"id": id(3), "book": a_book("y")}]})),
        entry("UpdateBook", json!({"book": {"id": id(2), "stock": 7}})),
        entry("DeleteBook", json!({"id": id(3)})),
        entry("CreateUser", json!({"id": id(4), "user": a_user()})),
    ]});
    let key = Uuid::new_v4().to_string();
    let before = rows(&server).await;
    let dry = [("validate-only", "true"), ("idempotency-key", key.as_str())];
    let dry = call(&server, EXECUTE, requests.clone(), &dry).await;
    assert_eq!(dry.expect("a dry run").body["responses"].as_array().map(Vec::len), Some(6));
    assert_eq!(rows(&server).await, before);
    let mut answers = Vec::new();
    for replayed in [false, true] {
        let metadata = [("idempotency-key", key.as_str())];
        let answered = call(&server, EXECUTE, requests.clone(), &metadata).await.expect("done");
        assert_eq!(answered.replayed, replayed);
        answers.push(answered.body);
    }
    assert_eq!(answers[0], answers[1]);
    let responses = answers[0]["responses"].as_array().expect("answers");
    let types: Vec<&str> = responses
        .iter()
        .filter_map(|response| response["@type"].as_str()?.strip_prefix("type.googleapis.com/"))
        .collect();
    assert_eq!(
        types,
        [
            "bookstore.v1.Category",
            "bookstore.v1.Book",
            "bookstore.v1.BatchCreateBooksResponse",
            "bookstore.v1.Book",
            "google.protobuf.Empty",
            "bookstore.v1.User"
        ]
    );
    assert_eq!((&responses[3]["stock"], &responses[3]["category_id"]), (&json!(7), &json!(id(1))));
    assert!(responses[5].get("password").is_none());
    let book = answer(&server, "BookService/GetBook", json!({"id": id(2)})).await;
    assert_eq!(with(book, json!({"@type": "type.googleapis.com/bookstore.v1.Book"})), responses[3]);
}

async fn execute_with_a_failing_entry_changes_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    let before = rows(&server).await;
    // As many entries as allowed.
    let mut requests: Vec<Value> = (0..998)
        .map(|at| entry("CreateBook", json!({"id": id(1_000 + at), "book": a_book("x")})))
        .collect();
    requests.push(entry("DeleteBook", json!({"id": id(1)})));
    requests.push(entry("DeleteBook", json!({"id": id(404)})));
    let key = Uuid::new_v4().to_string();
    let metadata = [("idempotency-key", key.as_str())];
    let refused = call(&server, EXECUTE, json!({"requests": requests}), &metadata).await;
    let refused = refused.err().expect("the last token");
    refused.is_missing(&["requests[999].id"]).says("index", "999").says("resource", "book");
    assert_eq!(rows(&server).await, before);
    assert_eq!(server.database().value("SELECT count(*) FROM idempotency_keys").await, "0");
    // Without it all of them are applied.
    requests[999] = entry("DeleteBook", json!({"id": id(404), "allow_missing": true}));
    let done = call(&server, EXECUTE, json!({"requests": requests}), &metadata).await;
    let done = done.unwrap_or_else(|refused| panic!("{refused:?}")).body;
    assert_eq!(done["responses"].as_array().map(Vec::len), Some(1_000));
}

async fn violation_in_execute_names_its_entry(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    let category = |name: &str| json!({"category": {"name": name}});
    let review =
        |members: Value| with(json!({"user_id": id(1), "book_id": id(1), "rating": 5}), members);
    let new_user = entry("CreateUser", json!({"id": id(50), "user": a_user()}));
    let of_new_user = json!({"review": review(json!({"user_id": id(50), "book_id": id(404)}))});
    for (requests, reason, field) in [
        // Taken by an existing row, and by an earlier entry.
        (
            json!([
                entry("CreateCategory", category("A")),
                entry("CreateCategory", category("Fiction"))
            ]),
            "RESOURCE_ALREADY_EXISTS",
            "requests[1].category.name",
        ),
        (
            json!([entry("CreateCategory", category("B")), entry("CreateCategory", category("B"))]),
            "RESOURCE_ALREADY_EXISTS",
            "requests[1].category.name",
        ),
        // An earlier entry creates the user; the book is missing.
        (
            json!([new_user, entry("CreateReview", of_new_user)]),
            "REFERENCE_NOT_FOUND",
            "requests[1].review.book_id",
        ),
        // An earlier entry deletes the book.
        (
            json!([
                entry("DeleteBook", json!({"id": id(1)})),
                entry(
                    "BatchCreateReviews",
                    json!({"requests": [
                        {"review": review(json!({"book_id": id(2), "user_id": id(2)}))},
                        {"review": review(json!({}))},
                    ]})
                ),
            ]),
            "REFERENCE_NOT_FOUND",
            "requests[1].requests[1].review.book_id",
        ),
        (
            json!([
                entry(
                    "CreatePost",
                    json!({"post": {"title": "x", "content": "x", "author_id": id(4)}})
                ),
                entry("DeleteUser", json!({"id": id(4)})),
            ]),
            "RESOURCE_IN_USE",
            "requests[1].id",
        ),
    ] {
        let before = rows(&server).await;
        let refused = refusal(&server, EXECUTE, json!({"requests": requests})).await;
        assert_eq!((refused.reason.as_str(), &refused.fields), (reason, &vec![field.to_owned()]));
        refused.says("index", "1");
        assert_eq!(rows(&server).await, before);
    }
}

async fn entries_of_execute_see_earlier_entries(engine: Engine) {
    let server = TestServer::start(engine).await;
    let created =
        answer(&server, "BookService/CreateBook", json!({"id": id(1), "book": a_book("x")})).await;
    let update = |stock: i32, etag: &Value| {
        entry("UpdateBook", json!({"book": {"id": id(1), "stock": stock, "etag": etag}}))
    };
    // The first entry changes the etag that the second one names.
    let requests = json!([update(1, &created["etag"]), update(2, &created["etag"])]);
    let refused = refusal(&server, EXECUTE, json!({"requests": requests})).await;
    refused.is_stale("requests[1].book.etag").says("index", "1");
    let now = answer(&server, "BookService/GetBook", json!({"id": id(1)})).await;
    assert_eq!(now, created);
}

/// Each reads the value and adds one: only a serial order gives the right sum, and etags show it.
async fn conflicting_transactions_are_retried(engine: Engine) {
    let server = TestServer::start(engine).await;
    for at in 1..=2 {
        let new = json!({"id": id(at), "book": a_book("x")});
        answer(&server, "BookService/CreateBook", new).await;
    }
    // Opposite orders, which would deadlock without an order of locks. They are retried until they
    // succeed.
    let update =
        |at: u32, stock: u32| entry("UpdateBook", json!({"book": {"id": id(at), "stock": stock}}));
    let calls = (0..24).map(|at| {
        let (first, second) = if at % 2 == 0 { (1, 2) } else { (2, 1) };
        let requests = json!({"requests": [update(first, at), update(second, at)]});
        let server = &server;
        async move { answer(server, EXECUTE, requests).await }
    });
    join_all(calls).await;
    let one = answer(&server, "BookService/GetBook", json!({"id": id(1)})).await;
    let two = answer(&server, "BookService/GetBook", json!({"id": id(2)})).await;
    assert_eq!(one.get("stock"), two.get("stock"), "the last one wrote both");
    let versions = "SELECT version FROM books ORDER BY id";
    assert_eq!(server.sql(versions).await, [[Some("25".to_owned())], [Some("25".to_owned())]]);
}

/// A retried attempt is in the call's metadata and in the metrics.
#[tokio::test]
async fn retried_attempts_are_counted_in_metadata_and_metrics() {
    let server =
        TestServer::builder(Engine::Postgres).env("ADMIN_ADDR", "127.0.0.1:0").start().await;
    answer(&server, "BookService/CreateBook", json!({"id": id(1), "book": a_book("x")})).await;
    let update = dynamic(
        descriptor(EXECUTE).input(),
        json!({"requests": [entry("UpdateBook", json!({"book": {"id": id(1), "stock": 1}}))]}),
    );
    let update = update.encode_to_vec();
    // Transactions in snapshots: of several at the same time one succeeds.
    let calls = (0..16).map(|_| {
        send(server.channel(), "/bookstore.v1.TransactionService/Execute", update.clone(), &[])
    });
    let mut again = 0;
    for answer in join_all(calls).await {
        let answer = answer.expect("a call that is done");
        let attempts =
            answer.metadata().get("attempts").and_then(|reported| reported.to_str().ok());
        again += attempts.and_then(|reported| reported.parse::<u32>().ok()).expect("a number") - 1;
    }
    assert!(again > 0, "no attempt collided");
    let (_, metrics) = admin::get(server.admin_address().await, "/metrics").await;
    let counted: u32 = metrics
        .lines()
        .filter(|line| line.starts_with("bookstore_write_retries_total{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok())
        .sum();
    assert_eq!(counted, again, "{metrics}");
}

async fn outcome_of_a_key_is_reported(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = Uuid::new_v4().to_string();
    let ask = json!({"idempotency_key": key});
    let reported = answer(&server, OUTCOME, ask.clone()).await;
    assert_eq!(reported, json!({"outcome": "OUTCOME_NOT_FOUND"}));
    let metadata = [("idempotency-key", key.as_str())];
    let request = json!({"book": a_book("x")});
    let created = call(&server, "BookService/CreateBook", request, &metadata).await;
    let created = created.expect("a book").body;
    let response = with(created, json!({"@type": "type.googleapis.com/bookstore.v1.Book"}));
    let wanted = json!({"outcome": "OUTCOME_COMMITTED", "response": response});
    for fence in [false, true] {
        let ask = with(ask.clone(), json!({"fence": fence}));
        assert_eq!(answer(&server, OUTCOME, ask).await, wanted);
    }
}

async fn fenced_key_stays_fenced(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = Uuid::new_v4().to_string();
    let aborted = json!({"outcome": "OUTCOME_ABORTED"});
    for fence in [true, true, false] {
        let ask = json!({"idempotency_key": key, "fence": fence});
        assert_eq!(answer(&server, OUTCOME, ask).await, aborted);
    }
    let metadata = [("idempotency-key", key.as_str())];
    for (method, request) in [
        ("BookService/CreateBook", json!({"book": a_book("late")})),
        (EXECUTE, json!({"requests": [entry("CreateBook", json!({"book": a_book("late")}))]})),
    ] {
        let refused = call(&server, method, request, &metadata).await.err().expect("a late call");
        refused.is(Code::Aborted, "KEY_FENCED", &[]);
    }
    assert_eq!(server.database().value("SELECT count(*) FROM books").await, "0");
}

/// While the write's transaction is open its outcome is undecided.
#[tokio::test]
async fn outcome_of_an_open_write_is_in_progress() {
    let server = TestServer::start(Engine::Postgres).await;
    let database = server.database();
    let key = Uuid::new_v4().to_string();
    let created = json!({"id": id(1), "book": a_book("x")});
    answer(&server, "BookService/CreateBook", created).await;
    let held = Held::table(&database).await;
    let update = json!({"book": {"id": id(1), "stock": 3}});
    let metadata = [("idempotency-key", key.as_str())];
    let write = call(&server, "BookService/UpdateBook", update, &metadata);
    let asking = async {
        waits_for_lock(&database).await;
        for fence in [false, true] {
            let ask = json!({"idempotency_key": key, "fence": fence});
            let reported = answer(&server, OUTCOME, ask).await;
            assert_eq!(reported, json!({"outcome": "OUTCOME_IN_PROGRESS"}));
        }
        held.release().await;
    };
    let (written, ()) = tokio::join!(write, asking);
    written.expect("it continues");
    let reported = answer(&server, OUTCOME, json!({"idempotency_key": key, "fence": true})).await;
    assert_eq!(reported["outcome"], "OUTCOME_COMMITTED");
}

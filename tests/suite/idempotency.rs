//! A write with a key is applied once, and a validate-only write never.

use std::collections::BTreeSet;

use bookstore_server::{app, rpc::method::MethodKind};
use bookstore_tests::{Engine, SOON, TestServer, on_every_engine, until};
use prost_reflect::{DynamicMessage, SerializeOptions, prost::Message};
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use crate::{
    bad_input::{KINDS, descriptor, populate, rows, send, standard::other},
    cart::fill,
    client::{Refusal, a_book, id, with},
    order::{
        Placed, place,
        writes::{PLACE, order},
    },
    standard::answer,
};

on_every_engine!(
    write_repeated_with_its_key_is_applied_once,
    concurrent_duplicates_are_applied_once,
    key_of_another_request_is_refused,
    failed_write_stores_no_answer_under_its_key,
    expired_keys_are_deleted,
    validate_only_request_changes_no_row,
);

const CREATE: &str = "BookService/CreateBook";

/// The answer of a call, and whether it was a stored one.
pub(crate) struct Answered {
    pub(crate) body: Value,
    pub(crate) replayed: bool,
}

/// Calls a method with metadata.
pub(crate) async fn call(
    server: &TestServer,
    method: &str,
    request: Value,
    metadata: &[(&'static str, &str)],
) -> Result<Answered, Refusal> {
    let contract = descriptor(method);
    let body = crate::client::dynamic(contract.input(), request).encode_to_vec();
    let path = format!("/bookstore.v1.{method}");
    let answer = send(server.channel(), &path, body, metadata).await;
    let answer = answer.map_err(|status| Refusal::from(&status))?;
    let replayed = answer.metadata().get("idempotent-replay").is_some_and(|value| value == "true");
    let message = DynamicMessage::decode(contract.output(), &**answer.get_ref());
    let options = SerializeOptions::new().use_proto_field_name(true);
    let body = message
        .expect("the method's answer")
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("an answer as JSON");
    Ok(Answered { body, replayed })
}

fn a_key() -> String {
    Uuid::new_v4().to_string()
}

async fn write_repeated_with_its_key_is_applied_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = a_key();
    // Without an id, so that a second write would create another book, and with a map of several
    // entries, whose encoding has no fixed order.
    let attributes = json!({"a": 1, "b": {"c": [1, 2], "d": null, "e": "x"}, "f": true});
    let request = json!({"book": with(a_book("once"), json!({"attributes": attributes}))});
    let first = call(&server, CREATE, request.clone(), &[("idempotency-key", &key)]).await;
    let first = first.expect("a new book");
    assert!(!first.replayed);
    for _ in 0..3 {
        let again = call(&server, CREATE, request.clone(), &[("idempotency-key", &key)]).await;
        let again = again.expect("the same book");
        assert!(again.replayed);
        assert_eq!(again.body, first.body);
    }
    assert_eq!(server.database().value("SELECT count(*) FROM books").await, "1");

    // The stored answer is that of the first call.
    let book = first.body["id"].clone();
    answer(&server, "BookService/DeleteBook", json!({"id": book})).await;
    let again = call(&server, CREATE, request.clone(), &[("idempotency-key", &key)]).await;
    assert_eq!(again.expect("the same answer").body, first.body);
    assert_eq!(server.database().value("SELECT count(*) FROM books").await, "0");

    // An answer without a field: it doesn't show what the write did.
    answer(&server, CREATE, json!({"id": id(1), "book": a_book("gone")})).await;
    let key = a_key();
    for replayed in [false, true] {
        let gone = json!({"id": id(1)});
        let metadata = [("idempotency-key", key.as_str())];
        let answered = call(&server, "BookService/DeleteBook", gone, &metadata).await;
        let answered = answered.expect("a deleted key");
        assert_eq!((answered.replayed, &answered.body), (replayed, &json!({})));
    }
    // The stored row contains nothing of the request.
    for row in server.sql("SELECT method, request_mark FROM idempotency_keys").await {
        assert!(row[0].as_ref().is_some_and(|method| method.starts_with("/bookstore.v1.")));
        assert_eq!(row[1].as_ref().map(String::len), Some(2 + 64), "{row:?}");
    }
}

async fn concurrent_duplicates_are_applied_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    // A second service on the same database, whose duplicates meet the first one's only in the
    // database.
    let other = TestServer::builder(engine).on(server.database()).start().await;
    for round in 0..5 {
        let key = a_key();
        let request = json!({"category": {"name": format!("Duplicate {round}")}});
        let duplicates = (0..20).map(|at| {
            let server = if at % 2 == 0 { &server } else { &other };
            let (key, request) = (key.clone(), request.clone());
            async move {
                let metadata = [("idempotency-key", key.as_str())];
                call(server, "CategoryService/CreateCategory", request, &metadata).await
            }
        });
        let answers = futures_util::future::join_all(duplicates).await;
        let answers: Vec<Answered> =
            answers.into_iter().map(|answer| answer.expect("one success")).collect();
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    }
    let made = "SELECT count(*) FROM categories WHERE name LIKE 'Duplicate %'";
    assert_eq!(server.database().value(made).await, "5");
}

async fn key_of_another_request_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = a_key();
    let metadata = [("idempotency-key", key.as_str())];
    let request = json!({"id": id(1), "book": a_book("one")});
    call(&server, CREATE, request, &metadata).await.expect("a new book");
    let entry = json!({"id": id(1), "book": a_book("one")});
    for (method, request) in [
        (CREATE, json!({"id": id(1), "book": a_book("two")})),
        (CREATE, json!({"id": id(2), "book": a_book("one")})),
        ("BookService/BatchCreateBooks", json!({"requests": [entry]})),
        ("BookService/DeleteBook", json!({"id": id(1)})),
    ] {
        let refused = call(&server, method, request, &metadata).await.err().expect("another one");
        refused
            .is(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED", &[])
            .says("key", "idempotency-key");
    }
    assert_eq!(server.database().value("SELECT count(*) FROM books").await, "1");
}

async fn failed_write_stores_no_answer_under_its_key(engine: Engine) {
    let server = TestServer::start(engine).await;
    let key = a_key();
    let metadata = [("idempotency-key", key.as_str())];
    let request = json!({"review": {"user_id": id(1), "book_id": id(1), "rating": 5}});
    for _ in 0..2 {
        let refused = call(&server, "ReviewService/CreateReview", request.clone(), &metadata).await;
        let refused = refused.err().expect("neither user nor book is there");
        refused.has_no_reference(&["review.user_id", "review.book_id"]);
    }
    // The same key may carry another request as long as none has been applied.
    let request = json!({"book": a_book("at last")});
    assert!(!call(&server, CREATE, request, &metadata).await.expect("a book").replayed);
}

async fn expired_keys_are_deleted(engine: Engine) {
    let server = TestServer::builder(engine).env("IDEMPOTENCY_RETENTION", "1s").start().await;
    let key = a_key();
    let metadata = [("idempotency-key", key.as_str())];
    let request = json!({"book": a_book("again")});
    call(&server, CREATE, request.clone(), &metadata).await.expect("a book");
    let database = server.database();
    until("the key is deleted", SOON, async || {
        database.value("SELECT count(*) FROM idempotency_keys").await == "0"
    })
    .await;
    assert!(!call(&server, CREATE, request, &metadata).await.expect("another book").replayed);
    assert_eq!(database.value("SELECT count(*) FROM books").await, "2");
}

/// On every method that writes: the request is carried out, answered, and rolled back.
async fn validate_only_request_changes_no_row(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    let before = rows(&server).await;
    let key = a_key();
    let metadata = [("validate-only", "true"), ("idempotency-key", key.as_str())];
    let mut tried = BTreeSet::new();
    for kind in KINDS.iter().filter(|kind| kind.has("Create")) {
        let (one, many) = (kind.field, kind.many.to_lowercase());
        let [first, _] = (kind.ids)();
        let new = json!({"id": id(30), one: (kind.valid)()});
        let change = json!({one: {"id": first, kind.other().0: "validated"}});
        let extra = json!({"id": id(31), one: other(kind)});
        answer(&server, &kind.method("Create"), extra).await;
        let gone = json!({"id": id(31)});
        for (verb, request) in [
            ("Create", new.clone()),
            ("Update", change.clone()),
            ("Delete", gone.clone()),
            ("BatchCreate", json!({"requests": [new]})),
            ("BatchUpdate", json!({"requests": [change]})),
            ("BatchDelete", json!({"requests": [gone]})),
        ] {
            let method = kind.method(verb);
            let answered = call(&server, &method, request, &metadata).await;
            let Answered { body, replayed } =
                answered.unwrap_or_else(|refused| panic!("{method}: {refused:?}"));
            assert!(!replayed);
            match verb {
                "Create" => assert_eq!(body["id"], id(30)),
                "Update" => assert_eq!(body[kind.other().0], "validated"),
                "BatchCreate" => assert_eq!(body[&many][0]["id"], id(30)),
                "BatchUpdate" => assert_eq!(body[&many][0][kind.other().0], "validated"),
                _ => assert_eq!(body, json!({})),
            }
            tried.insert(format!("/bookstore.v1.{method}"));
        }
        answer(&server, &kind.method("Delete"), json!({"id": id(31)})).await;
        // Invalid requests get the same errors as without it.
        let taken = json!({"id": first, one: (kind.valid)()});
        let refused = call(&server, &kind.method("Create"), taken, &metadata).await;
        refused.err().expect("the id is taken").is(
            Code::AlreadyExists,
            "RESOURCE_ALREADY_EXISTS",
            &["id"],
        );
    }
    assert_eq!(rows(&server).await, before);
    // Methods outside the kinds, each on a row that allows it.
    fill(&server.database(), &[(1, &[(1, 1), (2, 1)])]).await;
    let confirmed: Placed<'_> = (3, 3, "CONFIRMED", &[]);
    place(&server.database(), &[confirmed]).await;
    server.sql("UPDATE books SET stock = 10").await;
    let before = rows(&server).await;
    let item = json!({"user_id": id(1), "book_id": id(1), "quantity": 2});
    let gone = json!({"user_id": id(1), "book_id": id(1)});
    let checkout = json!({"user_id": id(1), "shipping_address": "x"});
    for (method, request) in [
        (PLACE, order(1, &[(1, 1), (2, 2)])),
        ("OrderService/ConfirmOrder", json!({"id": id(1)})),
        ("OrderService/ShipOrder", json!({"id": id(3)})),
        ("OrderService/DeliverOrder", json!({"id": id(2)})),
        ("OrderService/CancelOrder", json!({"id": id(1)})),
        ("CartService/AddItem", item.clone()),
        ("CartService/UpdateItem", item),
        ("CartService/RemoveItem", gone),
        ("CartService/Clear", json!({"user_id": id(1)})),
        ("CartService/Checkout", checkout),
    ] {
        let answered = call(&server, method, request, &metadata).await;
        assert_ne!(
            answered.unwrap_or_else(|refused| panic!("{method}: {refused:?}")).body["id"],
            Value::Null
        );
        assert_eq!(rows(&server).await, before, "{method}");
        tried.insert(format!("/bookstore.v1.{method}"));
    }
    assert_eq!(server.database().value("SELECT count(*) FROM idempotency_keys").await, "0");
    let registry = app::registry().expect("every method");
    let writes = registry.methods().filter(|method| method.kind == MethodKind::Write);
    let writes: BTreeSet<String> = writes.map(|method| method.path.to_owned()).collect();
    assert_eq!(tried, writes);
}

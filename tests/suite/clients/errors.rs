//! Errors as programs read them, and the end of retries.

use std::time::Duration;

use bookstore_client::{
    CallOptions, ClientOptions, Error, IntoCall, Reason, RetryThrottling, ServiceConfig, v1,
};
use bookstore_tests::{Engine, TestServer, on_every_engine};
use serde_json::json;
use tonic::Code;

use super::{connect, url};
use crate::client;

on_every_engine!(
    client_error_exposes_reason_attempts_and_endpoint,
    retries_stop_when_throttling_tokens_run_out
);

async fn client_error_exposes_reason_attempts_and_endpoint(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = connect(url(&server));
    let book = json!({"author": "x", "stock": -1});
    let call = client::create("", book).into_call().request_id("a-request");
    let error = Error::from(client.books().create_book(call).await.expect_err("two violations"));
    assert!(error.is(v1::ErrorReason::FieldInvalid), "{error:?}");
    assert_eq!(error.code(), Code::InvalidArgument);
    let mut fields: Vec<_> = error.field_violations().iter().map(|it| &*it.field).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["book.price", "book.stock", "book.title"]);
    assert_eq!(error.request_id(), Some("a-request"));
    assert!(!error.is_transient() && !error.may_have_happened());
    assert_eq!(error.attempts(), 1);

    let get = v1::GetBookRequest { id: client::id(7), ..Default::default() };
    let error = Error::from(client.books().get_book(get).await.expect_err("no such book"));
    assert!(error.is(v1::ErrorReason::ResourceNotFound), "{error:?}");
    let resource = error.resource().expect("a resource");
    assert_eq!((&*resource.resource_type, &*resource.resource_name), ("book", &*client::id(7)));
    assert_eq!(error.idempotency_key(), None);

    let created = client.books().create_book(client::create("", client::a_book("Dune"))).await;
    let book = created.expect("a book").into_inner();
    let update = |etag: &str| {
        let request = json!({"book": {"id": book.id, "stock": 3, "etag": etag},
            "update_mask": "stock"});
        client::message::<v1::UpdateBookRequest>(request)
    };
    client.books().update_book(update(&book.etag)).await.expect("the first update");
    let stale = client.books().update_book(update(&book.etag)).await.expect_err("an old etag");
    let error = Error::from(stale);
    // ABORTED is retried as a code, but the service's error info forbids it here.
    assert!(error.is(v1::ErrorReason::EtagMismatch), "{error:?}");
    assert_eq!((error.attempts(), error.is_transient()), (1, false));

    let away = connect("http://127.0.0.1:1");
    let get = v1::GetBookRequest { id: client::id(7), ..Default::default() };
    let error = away.books().get_book(get.clone().into_call().wait_for_ready(false)).await;
    let error = Error::from(error.expect_err("no service"));
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, &Reason::Transport));
    assert!(error.message().contains("127.0.0.1:1/"), "{error}");
    let error = away.books().get_book(get.into_call().deadline(Duration::from_millis(300))).await;
    let error = Error::from(error.expect_err("no service"));
    assert_eq!((error.code(), error.attempts()), (Code::DeadlineExceeded, 0));
    assert!(error.message().contains("127.0.0.1:1/"), "{error}");
}

/// A service without its schema refuses calls with UNAVAILABLE, and the client retries them.
async fn retries_stop_when_throttling_tokens_run_out(engine: Engine) {
    let server = TestServer::builder(engine).unmigrated().env("DATABASE_MIGRATE", "false");
    let server = server.wait_for(Some("live")).start().await;
    let attempts = async |throttling: Option<RetryThrottling>| {
        let mut config = ServiceConfig::of_the_service();
        config.retry_throttling = throttling;
        // Health checking would stop the client from calling it.
        config.health_check_service = None;
        let options = ClientOptions::new([url(&server)]).service_config(config);
        let client = options.connect().expect("an address");
        let list = v1::ListBooksRequest::default();
        let call = list.into_call().deadline(Duration::from_millis(2_600));
        let error = Error::from(client.books().list_books(call).await.expect_err("no schema"));
        assert!(error.is(v1::ErrorReason::SchemaPending), "{error:?}");
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(1)));
        error.attempts()
    };
    // Each pause is the service's second, plus up to a fifth.
    assert_eq!(attempts(None).await, 3);
    let throttling = |max_tokens| Some(RetryThrottling { max_tokens, token_ratio: 0.1 });
    assert_eq!(attempts(throttling(4)).await, 2);
    assert_eq!(attempts(throttling(2)).await, 1);
}

//! `policy_mode = report`: what would be refused goes on, is counted, and makes a policy.

use bookstore_tests::{AccessFiles, Engine, TestServer, on_every_engine, policy, run};
use prost::Message;
use serde_json::json;

use super::{call, forbidden};
use crate::{
    admin::{get, get_json},
    bad_input::{descriptor, send},
    client::{Refusal, dynamic},
    credentials::audited_with,
};

on_every_engine!(a_policy_that_reports_becomes_one_that_enforces);

/// A service whose policy only reports.
async fn reporting(engine: Engine, files: &AccessFiles) -> TestServer {
    let builder = files.apply(TestServer::builder(engine)).env("POLICY_MODE", "report");
    builder.env("ADMIN_ADDR", "127.0.0.1:0").start().await
}

fn execute() -> Vec<u8> {
    let request = json!({"requests": [{
        "@type": "type.googleapis.com/bookstore.v1.CreateCategoryRequest",
        "category": {"name": "Reported"},
    }]});
    dynamic(descriptor("TransactionService/Execute").input(), request).encode_to_vec()
}

async fn a_policy_that_reports_becomes_one_that_enforces(engine: Engine) {
    let files = AccessFiles::new(
        &(policy(|_| "nobody".to_owned(), "") + "[operators]\nsee = \"anyone\"\n"),
    );
    let (ada, eve) = (files.token("ada"), files.token("eve"));
    let server = reporting(engine, &files).await;
    let (list, books) = ("CategoryService/ListCategories", "BookService/ListBooks");
    for token in [&ada, &eve] {
        call(&server, list, &[], token).await.expect("it goes on");
    }
    let path = format!("/bookstore.v1.{books}");
    send(server.channel(), &path, Vec::new(), &[]).await.expect("without credentials, too");
    call(&server, "TransactionService/Execute", &execute(), &ada).await.expect("its entries, too");
    let batch = json!({"requests": [{"category": {"name": "Batch"}}]});
    let method = "CategoryService/BatchCreateCategories";
    let batch = dynamic(descriptor(method).input(), batch).encode_to_vec();
    call(&server, method, &batch, &ada).await.expect("a batch, too");
    // Wrong credentials are refused in this mode as well.
    let answer = send(server.channel(), &path, Vec::new(), &[("authorization", "Bearer x")]).await;
    let refusal = Refusal::from(&answer.expect_err("wrong credentials"));
    assert_eq!(refusal.reason, "CREDENTIALS_INVALID");

    let last = "bookstore.v1.CategoryService/BatchCreateCategories";
    let reported = audited_with(&server, "would be refused", |line| line["method"] == last).await;
    let methods: Vec<&str> = reported.iter().filter_map(|line| line["method"].as_str()).collect();
    assert_eq!(
        methods,
        [
            "bookstore.v1.CategoryService/ListCategories",
            "bookstore.v1.CategoryService/ListCategories",
            "bookstore.v1.BookService/ListBooks",
            "bookstore.v1.TransactionService/Execute",
            "bookstore.v1.CategoryService/CreateCategory",
            last,
        ]
    );
    let address = server.admin_address().await;
    let calls = get_json(address, "/policy/calls").await;
    let member = json!({"method": list, "roles": ["member"], "caller": null, "count": 1});
    assert!(calls.as_array().is_some_and(|calls| calls.contains(&member)), "{calls}");
    let none = json!({"method": books, "roles": [], "caller": null, "count": 1});
    assert!(calls.as_array().is_some_and(|calls| calls.contains(&none)), "{calls}");

    let policy = files.path("policy.toml").display().to_string();
    let environment = [("POLICY_FILE", policy.as_str())];
    let suggested = run(&["policy", "suggest", &address.to_string()], &environment).await;
    assert_eq!(suggested.code, Some(0), "{suggested:?}");
    // The same from a file, which curl may have written.
    files.replace("calls.json", &calls.to_string());
    let file = files.path("calls.json").display().to_string();
    let again = run(&["policy", "suggest", &file], &environment).await;
    assert_eq!(again.output, suggested.output);

    files.set_policy(&suggested.output);
    let builder = files.apply(TestServer::builder(engine)).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = builder.start().await;
    let passes = async |method: &str, body: &[u8], token: &str| {
        forbidden(call(&server, method, body, token).await).is_none()
    };
    assert!(passes(list, &[], &ada).await && passes(list, &[], &eve).await);
    assert!(passes("TransactionService/Execute", &execute(), &ada).await);
    assert!(!passes("TransactionService/Execute", &execute(), &eve).await);
    assert!(passes(method, &batch, &ada).await && !passes(method, &batch, &eve).await);
    assert!(!passes("BookService/GetBook", &[], &ada).await, "it was not called");
    send(server.channel(), &path, Vec::new(), &[]).await.expect("without credentials");
    let (code, _) = get(server.admin_address().await, "/policy/calls").await;
    assert_eq!(code, 404, "an enforced policy counts no calls");
}

//! What holds of every method of the contract, taken from the contract itself: a new method is tried
//! without a line here.

use bookstore_tests::{
    AccessFiles, Engine, Issuer, TestServer, methods, now, on_every_engine, policy,
};
use serde_json::json;
use tonic::Code;

use super::{audited, bearer, for_members, is_unauthenticated, populated, refused};
use crate::{
    bad_input::{rows, send, table},
    list::statements,
};

on_every_engine!(
    no_method_takes_wrong_credentials,
    no_method_is_open_to_wrong_credentials,
    dry_runs_and_repetitions_are_judged_as_calls,
    refusals_of_every_method_cost_no_statement_and_are_logged
);

/// A request of each method that the service would read, and bytes that are none.
fn requests() -> Vec<(String, Vec<u8>)> {
    let known = table().into_iter().map(|case| case.into_request());
    let mut requests: Vec<(String, Vec<u8>)> = Vec::new();
    for (method, body) in known {
        if !requests.iter().any(|(known, _)| *known == method) {
            requests.push((method, body));
        }
    }
    for method in methods() {
        assert!(requests.iter().any(|(known, _)| *known == method), "{method} has a request");
        requests.push((method, vec![0xff, 0xff]));
    }
    requests
}

/// Headers with credentials that prove nothing, each with the reason that the caller gets.
fn wrong_credentials(ada: &str, issuer: &Issuer) -> Vec<(String, &'static str)> {
    let mut expired = Issuer::claims("ada");
    expired["exp"] = json!(now() - 100);
    let mut foreign = Issuer::claims("ada");
    foreign["aud"] = json!("other");
    vec![
        ("Bearer x".to_owned(), "CREDENTIALS_INVALID"),
        (bearer(&ada[..ada.len() - 1]), "CREDENTIALS_INVALID"),
        (format!("Basic {ada}"), "CREDENTIALS_INVALID"),
        (bearer(&issuer.token(&foreign)), "CREDENTIALS_INVALID"),
        (bearer(&Issuer::new("k1").token(&Issuer::claims("ada"))), "CREDENTIALS_INVALID"),
        (bearer(&issuer.token(&expired)), "CREDENTIALS_EXPIRED"),
    ]
}

/// Files with an issuer, and a token.
fn files(policy: impl Fn(&str) -> String) -> (AccessFiles, Issuer, String) {
    let issuer = Issuer::new("k1");
    let files = AccessFiles::new("");
    files.replace("keys.json", &Issuer::keys(&[&issuer]));
    let keys = format!("keys_file = \"{}\"", files.path("keys.json").display());
    files.set_policy(&policy(&Issuer::table(&keys)));
    let ada = files.token("ada");
    (files, issuer, ada)
}

async fn no_method_takes_wrong_credentials(engine: Engine) {
    let (files, issuer, ada) = files(for_members);
    let server = populated(engine, &files).await;
    let before = rows(&server).await;
    for (method, body) in requests() {
        let path = format!("/bookstore.v1.{method}");
        let answer = send(server.channel(), &path, body.clone(), &[]).await;
        is_unauthenticated(&refused(&answer.expect_err(&method)), "CREDENTIALS_MISSING");
        for (header, reason) in wrong_credentials(&ada, &issuer) {
            let metadata = [("authorization", header.as_str())];
            let answer = send(server.channel(), &path, body.clone(), &metadata).await;
            is_unauthenticated(&refused(&answer.expect_err(&method)), reason);
        }
    }
    assert_eq!(rows(&server).await, before);
}

/// Wrong credentials are not none: not even a method for anyone takes them.
async fn no_method_is_open_to_wrong_credentials(engine: Engine) {
    let (files, issuer, ada) = files(|more| policy(|_| "anyone".to_owned(), more));
    let server = populated(engine, &files).await;
    let before = rows(&server).await;
    for (method, body) in requests() {
        let path = format!("/bookstore.v1.{method}");
        for (header, reason) in wrong_credentials(&ada, &issuer) {
            let metadata = [("authorization", header.as_str())];
            let answer = send(server.channel(), &path, body.clone(), &metadata).await;
            is_unauthenticated(&refused(&answer.expect_err(&method)), reason);
        }
    }
    assert_eq!(rows(&server).await, before);
    super::list(&server, &[]).await.expect("none are taken");
}

async fn dry_runs_and_repetitions_are_judged_as_calls(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let (ada, eve) = (bearer(&files.token("ada")), bearer(&files.token("eve")));
    let server = populated(engine, &files).await;
    let before = rows(&server).await;
    let key = "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e";
    for (method, body) in requests() {
        let path = format!("/bookstore.v1.{method}");
        for options in [
            &[("validate-only", "true")][..],
            &[("idempotency-key", key)],
            &[("idempotency-key", key), ("grpc-previous-rpc-attempts", "1")],
        ] {
            let metadata = [options, &[("authorization", eve.as_str())]].concat();
            let answer = send(server.channel(), &path, body.clone(), &metadata).await;
            let refusal = refused(&answer.expect_err(&method));
            refusal.is(Code::PermissionDenied, "METHOD_FORBIDDEN", &[]);
            refusal.says("method", &path[1..]);
            let answer = send(server.channel(), &path, body.clone(), options).await;
            is_unauthenticated(&refused(&answer.expect_err(&method)), "CREDENTIALS_MISSING");
        }
    }
    assert_eq!(rows(&server).await, before);
    // A write that has happened is not answered again to a caller that may not write any more.
    let create = "/bookstore.v1.CategoryService/CreateCategory";
    let body = crate::client::dynamic(
        crate::bad_input::descriptor("CategoryService/CreateCategory").input(),
        json!({"category": {"name": "Poetry"}}),
    );
    let body = prost_reflect::prost::Message::encode_to_vec(&body);
    let metadata = [("authorization", ada.as_str()), ("idempotency-key", key)];
    send(server.channel(), create, body.clone(), &metadata).await.expect("a new category");
    files.set_policy(&policy(|_| "other".to_owned(), ""));
    let changed = |line: &str| line.contains("files have changed and are in force");
    server.logs().wait_for(changed).await;
    let answer = send(server.channel(), create, body, &metadata).await;
    assert_eq!(refused(&answer.expect_err("a replay")).reason, "METHOD_FORBIDDEN");
}

async fn refusals_of_every_method_cost_no_statement_and_are_logged(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let eve = bearer(&files.token("eve"));
    let builder = files.apply(TestServer::builder(engine)).env("DATABASE_ECHO", "true");
    let server = builder.start().await;
    for (number, method) in (0..).zip(methods()) {
        let path = format!("/bookstore.v1.{method}");
        let call = format!("refused-{number}");
        let metadata = [("authorization", eve.as_str()), ("request-id", call.as_str())];
        let answer = send(server.channel(), &path, Vec::new(), &metadata).await;
        assert_eq!(refused(&answer.expect_err(&method)).reason, "METHOD_FORBIDDEN");
        assert_eq!(statements(&server, &call).await, [""; 0], "{method}");
        // The line of the call comes after it.
        let lines = audited(&server, "refused");
        let line = lines.iter().find(|line| line["request_id"] == call.as_str());
        let line = line.unwrap_or_else(|| panic!("{method} has a line"));
        assert_eq!(line["principal"], "token:eve");
        assert_eq!(line["method"], path[1..]);
        assert_eq!(line["reason"], "METHOD_FORBIDDEN");
        assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")));
    }
}

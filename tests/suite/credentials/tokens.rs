//! Static tokens: which are known, and how the header has to be.

use std::time::{Duration, SystemTime};

use bookstore_proto::v1::ListCategoriesRequest;
use bookstore_tests::{AccessFiles, Engine, Issuer, SOON, TestServer, on_every_engine, run, until};
use tonic::{Code, Request, metadata::MetadataValue};

use super::{for_members, is_unauthenticated, list, list_as, refused};
use crate::client::categories;

on_every_engine!(
    static_tokens_are_known_whole_and_in_one_form,
    tokens_are_replaced_while_the_service_runs
);

async fn static_tokens_are_known_whole_and_in_one_form(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let (ada, eve) = (files.token("ada"), files.token("eve"));
    let soon = SystemTime::now() + Duration::from_secs(1);
    let expired = files.token_until("ben", Some(soon));
    let retired = {
        let before = std::fs::read_to_string(files.path("tokens")).expect("the tokens");
        let retired = files.token("ada");
        files.set_tokens(&before);
        retired
    };
    let server = files.apply(TestServer::builder(engine)).start().await;
    let with = |value: String| {
        let server = &server;
        async move { list(server, &[("authorization", &value)]).await }
    };
    for scheme in ["Bearer", "bearer", "BEARER"] {
        with(format!("{scheme} {ada}")).await.expect("a scheme in any case");
    }
    let refusal = list(&server, &[]).await.expect_err("no credentials");
    is_unauthenticated(&refusal, "CREDENTIALS_MISSING");

    let renamed = ada.replacen("bks_ada", "bks_eve", 1);
    for value in [
        format!("Bearer  {ada}"),
        format!("Bearer {ada}x"),
        format!("Bearer {}", &ada[..ada.len() - 1]),
        format!("Bearer {renamed}"),
        format!("Bearer {retired}"),
        format!("Bearer {ada},{ada}"),
        format!("Bearer\t{ada}"),
        format!("Basic {ada}"),
        format!("Bearer{ada}"),
        "Bearer".to_owned(),
        "Bearer x".to_owned(),
        "bearer x".to_owned(),
        "Basic x".to_owned(),
        ada.clone(),
        String::new(),
    ] {
        let refusal = with(value.clone()).await.expect_err(&value);
        is_unauthenticated(&refusal, "CREDENTIALS_INVALID");
    }
    let right = format!("Bearer {ada}");
    for has_right in [false, true] {
        let mut request = Request::new(ListCategoriesRequest::default());
        let binary = MetadataValue::from_bytes(ada.as_bytes());
        request.metadata_mut().insert_bin("authorization-bin", binary);
        if has_right {
            let right = right.parse().expect("a header");
            request.metadata_mut().insert("authorization", right);
        }
        let answer = categories(&server).list_categories(request).await;
        let refusal = refused(&answer.expect_err("binary credentials"));
        is_unauthenticated(&refusal, "CREDENTIALS_INVALID");
    }
    let twice = [("authorization", &*right), ("authorization", &*right)];
    let refusal = list(&server, &twice).await.expect_err("two credentials");
    refusal.is(Code::InvalidArgument, "INVALID_METADATA", &[]).says("key", "authorization");

    let refusal = list_as(&server, &eve).await.expect_err("another role");
    refusal.is(Code::PermissionDenied, "METHOD_FORBIDDEN", &[]);
    refusal.says("method", "bookstore.v1.CategoryService/ListCategories");
    until("the token has expired", SOON, async || {
        let refusal = list_as(&server, &expired).await.err();
        refusal.is_some_and(|refusal| refusal.reason == "CREDENTIALS_EXPIRED")
    })
    .await;
    let refusal = list_as(&server, &expired).await.expect_err("an expired token");
    is_unauthenticated(&refusal, "CREDENTIALS_EXPIRED");
}

async fn tokens_are_replaced_while_the_service_runs(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let old = files.token("ada");
    let server = files.apply(TestServer::builder(engine)).start().await;
    list_as(&server, &old).await.expect("the old token");
    // Both, then the new one alone.
    let new = files.token("ada");
    until("the new token is known", SOON, async || list_as(&server, &new).await.is_ok()).await;
    list_as(&server, &old).await.expect("the old token beside the new one");
    let lines = std::fs::read_to_string(files.path("tokens")).expect("the tokens");
    files.set_tokens(lines.lines().last().expect("the new line"));
    until("the old token is unknown", SOON, async || list_as(&server, &old).await.is_err()).await;
    list_as(&server, &new).await.expect("the new token");
    // A file that can't be read changes nothing.
    files.set_tokens("ada nothing");
    let wrong = |line: &str| line.contains("tokens:1: the hash must be");
    server.logs().wait_for(wrong).await;
    list_as(&server, &new).await.expect("the token that was in force");
}

/// Made by the program, as an operator does it.
#[tokio::test]
async fn a_token_is_made_by_the_program() {
    let files = AccessFiles::new(&for_members(""));
    let path = files.path("tokens").display().to_string();
    let made = run(&["token", "new", "ada", "--append", &path], &[]).await;
    assert!(made.code == Some(0), "{made:?}");
    let token = made.output.trim_end();
    assert!(token.starts_with("bks_ada_") && token.len() == "bks_ada_".len() + 43, "{token}");
    assert_eq!(made.errors, "");
    let lines = std::fs::read_to_string(&path).expect("the tokens");
    assert!(lines.starts_with("ada ") && !lines.contains(token), "{lines}");
    let server = files.apply(TestServer::builder(Engine::Sqlite)).start().await;
    list_as(&server, token).await.expect("the token");

    let shown = run(&["token", "new", "ben", "--until", "2999-01-31T12:00:00Z"], &[]).await;
    assert!(shown.code == Some(0), "{shown:?}");
    assert!(shown.errors.contains(" until 2999-01-31T12:00:00Z"), "{shown:?}");
    // Standard error is a file of tokens, as compose.yml and the manifests have it.
    files.set_tokens(&shown.errors);
    let server = files.apply(TestServer::builder(Engine::Sqlite)).start().await;
    list_as(&server, shown.output.trim_end()).await.expect("the token");
    for (arguments, message) in [
        (&["token", "new", "Ada"][..], "the name must be lower-case"),
        (&["token", "new", "ada", "--until", "2020-01-01T00:00:00Z"], "has passed already"),
        (&["token", "new", "ada", "--append", "/nonexistent/tokens"], "/nonexistent/tokens"),
    ] {
        let refused = run(arguments, &[]).await;
        assert!(refused.code != Some(0) && refused.errors.contains(message), "{refused:?}");
        assert_eq!(refused.output, "", "no token");
    }
}

/// The service doesn't start with files that say something else than their author means.
#[tokio::test]
async fn wrong_files_are_refused_at_the_start() {
    let files = AccessFiles::new(&for_members(""));
    let text = |name: &str| files.path(name).display().to_string();
    let (policy, tokens) = (text("policy.toml"), text("tokens"));
    let database = format!("sqlite://{}?mode=rwc", text("bookstore.db"));
    let start = async |policy: &str, tokens: &str| {
        let arguments = ["serve", "--listen-addr", "127.0.0.1:0"];
        let environment =
            [("POLICY_FILE", policy), ("TOKENS_FILE", tokens), ("DATABASE_URL", &*database)];
        run(&arguments, &environment).await
    };
    files.set_tokens("# tokens\nada nothing");
    let refused = start(&policy, &tokens).await;
    assert_eq!((refused.code, &*refused.output), (Some(64), ""), "{refused:?}");
    let fault = format!("{tokens}:2: the hash must be a SHA-256, 64 hexadecimal digits");
    assert!(refused.errors.contains(&fault), "{refused:?}");
    let refused = start(&policy, "/nonexistent/tokens").await;
    assert_eq!((refused.code, &*refused.output), (Some(64), ""), "{refused:?}");
    assert!(refused.errors.contains("/nonexistent/tokens: No such file"), "{refused:?}");
    // Tokens without a policy would look like a lock and be none.
    let refused = start("", &tokens).await;
    assert_eq!((refused.code, &*refused.output), (Some(64), ""), "{refused:?}");
    assert!(refused.errors.contains("must come with policy_file"), "{refused:?}");
    files.set_tokens("");
    let keys = "keys_file = \"/nonexistent/keys.json\"";
    files.set_policy(&for_members(&Issuer::table(keys)));
    let refused = start(&policy, &tokens).await;
    assert_eq!((refused.code, &*refused.output), (Some(64), ""), "{refused:?}");
    let fault = format!("{policy}: the issuer shop: /nonexistent/keys.json: No such file");
    assert!(refused.errors.contains(&fault), "{refused:?}");
}

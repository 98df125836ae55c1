//! JSON Web Tokens as they come over the wire. server/auth has the tests of each of their parts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bookstore_tests::{AccessFiles, Engine, Issuer, TestServer, now, on_every_engine};
use serde_json::{Value, json};

use super::{for_members, is_unauthenticated, list_as};

on_every_engine!(only_right_json_web_tokens_are_taken);

async fn only_right_json_web_tokens_are_taken(engine: Engine) {
    let issuer = Issuer::new("k1");
    let files = AccessFiles::new("");
    files.replace("keys.json", &Issuer::keys(&[&issuer]));
    let keys = format!("keys_file = \"{}\"", files.path("keys.json").display());
    files.set_policy(&for_members(&Issuer::table(&keys)));
    let server = files.apply(TestServer::builder(engine)).start().await;
    let claims = || Issuer::claims("ada");
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    for right in [
        claims(),
        with("aud", json!(["other", "bookstore"])),
        with("exp", json!(now() - 10)),
        with("nbf", json!(now())),
    ] {
        list_as(&server, &issuer.token(&right)).await.expect("a right token");
    }

    let mut wrong = Vec::new();
    let body = URL_SAFE_NO_PAD.encode(claims().to_string());
    for name in ["none", "None", "nOnE"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": name}).to_string());
        wrong.push(format!("{header}.{body}."));
        wrong.push(format!("{header}.{body}"));
        wrong.push(format!("{header}.{body}.AAAA"));
    }
    for audience in [json!("other"), json!(null), json!(["other"]), json!("bookstore-x")] {
        wrong.push(issuer.token(&with("aud", audience)));
    }
    wrong.push(Issuer::new("k1").token(&claims()));
    wrong.push(Issuer::new("k2").token(&claims()));
    wrong.push(issuer.token(&with("iss", json!("https://evil.example"))));
    wrong.push(issuer.token(&with("sub", json!(""))));
    wrong.push(issuer.token(&with("exp", json!("never"))));
    wrong.push(issuer.token(&with("exp", json!(now() + 90_000))));
    wrong.push(issuer.token(&with("nbf", json!(now() + 60))));
    let critical = json!({"alg": "ES256", "kid": "k1", "crit": ["exp"]});
    wrong.push(issuer.token_with(&critical, &claims()));
    wrong.push(issuer.token(&with("more", json!("x".repeat(8_192)))));
    let right = issuer.token(&claims());
    wrong.push(format!("{}A", &right[..right.len() - 2]));
    for token in &wrong {
        let refusal = list_as(&server, token).await.expect_err(token);
        is_unauthenticated(&refusal, "CREDENTIALS_INVALID");
    }
    let expired = issuer.token(&with("exp", json!(now() - 60)));
    let refusal = list_as(&server, &expired).await.expect_err("an expired token");
    is_unauthenticated(&refusal, "CREDENTIALS_EXPIRED");
    // The credentials are right, but the subject has no role.
    let eve = list_as(&server, &issuer.token(&Issuer::claims("eve"))).await;
    assert_eq!(eve.expect_err("a subject without a role").reason, "METHOD_FORBIDDEN");
}

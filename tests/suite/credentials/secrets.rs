//! Secrets that callers send or that files hold are found nowhere: not in the log at its most
//! talkative, nor in errors, settings, the operators' answers or the list of processes.

use bookstore_tests::{AccessFiles, Engine, Issuer, TestServer, on_every_engine, run};
use serde_json::json;

use super::{bearer, for_members, list};
use crate::{admin, standard::call_with};

on_every_engine!(no_secret_is_shown_anywhere);

async fn no_secret_is_shown_anywhere(engine: Engine) {
    let issuer = Issuer::new("k1");
    let files = AccessFiles::new("");
    files.replace("keys.json", &Issuer::keys(&[&issuer]));
    let keys = format!("keys_file = \"{}\"", files.path("keys.json").display());
    let policy = for_members(&Issuer::table(&keys));
    files.set_policy(&format!("{policy}[operators]\nsee = \"member\"\n"));
    let ada = files.token("ada");
    let sealing = "5ea1".repeat(16);
    let builder = files.apply(TestServer::builder(engine)).env("LOG_LEVEL", "trace");
    let builder = builder.env("TOKEN_KEY", &sealing).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = builder.start().await;
    let right = issuer.token(&Issuer::claims("ada"));
    let stranger = Issuer::new("k1").token(&Issuer::claims("eve"));
    let password = "correct horse battery staple";
    let mut shown = Vec::new();
    for token in [&ada, &right, &stranger, &format!("{ada}x")] {
        for scheme in ["Bearer ", "Basic ", ""] {
            let header = format!("{scheme}{token}");
            let answer = list(&server, &[("authorization", &header)]).await;
            shown.push(format!("{answer:?}"));
        }
        let user = json!({"user": {"email": "grace@example.org", "username": "grace",
            "full_name": "Grace", "password": password}});
        let metadata = [("authorization", &*bearer(token))];
        let answer = call_with(&server, "UserService/CreateUser", user, &metadata).await;
        shown.push(format!("{answer:?}"));
    }
    // A file of tokens that holds a token instead of its hash.
    files.set_tokens(&format!("ada {ada}"));
    server.logs().wait_for(|line| line.contains("holds a token instead of its hash")).await;
    let admin = server.admin_address().await;
    for path in ["/status", "/metrics", "/calls", "/log-level"] {
        let operator = format!("authorization: {}\r\n", bearer(&right));
        let (code, answer) = admin::ask_with(admin, "GET", path, &operator, "").await;
        assert_eq!(code, 200, "{path}: {answer}");
        shown.push(answer);
    }
    let policy = files.path("policy.toml").display().to_string();
    let tokens = files.path("tokens").display().to_string();
    let environment =
        [("POLICY_FILE", &*policy), ("TOKENS_FILE", &*tokens), ("TOKEN_KEY", &*sealing)];
    let config = run(&["config"], &environment).await;
    shown.push(format!("{config:?}"));
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        shown.push(String::from_utf8_lossy(&line).into_owned());
    }
    shown.extend(server.logs().so_far());
    assert!(shown.iter().any(|text| text.contains("CREDENTIALS_INVALID")), "the errors are there");
    // The whole secret, and the part of each that is secret.
    let signature = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
    let secret = ada.rsplit_once("_ada_").or_else(|| ada.split_once("bks_ada_"));
    let secret = secret.expect("the secret of the token").1.to_owned();
    for planted in [secret, signature(&right), signature(&stranger), sealing, password.to_owned()] {
        let found: Vec<&String> = shown.iter().filter(|it| it.contains(&planted)).collect();
        assert!(found.is_empty(), "a secret is shown: {found:?}");
    }
}

//! What the log and the metrics tell of refusals and logins.

use std::time::{Duration, SystemTime};

use bookstore_tests::{AccessFiles, Engine, SOON, TestServer, on_every_engine, until};
use serde_json::{Value, json};

use super::{audited, bearer, for_members, list};
use crate::{admin, standard::call_with};

on_every_engine!(
    refusals_are_counted_and_bounded_in_the_log,
    logins_are_logged_without_their_emails
);

/// How many calls of each kind are refused.
const CALLS: usize = 1_000;

async fn refusals_are_counted_and_bounded_in_the_log(engine: Engine) {
    let policy = for_members("");
    let files =
        AccessFiles::new(&format!("{policy}[operators]\nsee = \"member\"\nchange = \"member\"\n"));
    let (ada, eve) = (files.token("ada"), files.token("eve"));
    let expired = files.token_until("ben", Some(SystemTime::now() - Duration::from_secs(5)));
    let builder = files.apply(TestServer::builder(engine)).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = builder.start().await;
    let admin = server.admin_address().await;
    let operator = format!("authorization: {}\r\n", bearer(&ada));
    // No level silences these lines.
    let (code, _) = admin::ask_with(admin, "PUT", "/log-level", &operator, "off").await;
    assert_eq!(code, 200);
    let wrong = format!("{}x", bearer(&ada));
    let kinds = [
        (None, "CREDENTIALS_MISSING", ""),
        (Some(wrong), "CREDENTIALS_INVALID", "malformed"),
        (Some(bearer(&expired)), "CREDENTIALS_EXPIRED", "expired"),
        (Some(bearer(&eve)), "METHOD_FORBIDDEN", ""),
    ];
    // In turns: the lines of a second are bounded, so that those of one kind could take all of it.
    for _ in 0..CALLS {
        for (header, reason, _) in &kinds {
            let metadata: Vec<(&'static str, &str)> =
                header.iter().map(|value| ("authorization", value.as_str())).collect();
            let refusal = list(&server, &metadata).await.expect_err(reason);
            assert_eq!(refusal.reason, *reason);
        }
    }
    let passed_over = |server: &TestServer| -> usize {
        let lines = audited(server, "refusals and logins without lines of their own");
        let counts = lines.iter().filter_map(|line| line["count"].as_u64());
        counts.sum::<u64>().try_into().expect("a number")
    };
    let all = kinds.len() * CALLS;
    until("every refusal is logged", SOON, async || {
        audited(&server, "refused").len() + passed_over(&server) == all
    })
    .await;
    let lines = audited(&server, "refused");
    for (_, reason, cause) in &kinds {
        let line = lines.iter().find(|line| line["reason"] == *reason).expect("a line");
        assert_eq!(line["cause"], *cause);
        assert_eq!(line["method"], "bookstore.v1.CategoryService/ListCategories");
        assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
        assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
        let principal =
            if *reason == "METHOD_FORBIDDEN" { json!("token:eve") } else { Value::Null };
        assert_eq!(line["principal"], principal);
    }
    let log = server.logs().so_far().join("\n");
    for token in [&ada, &eve, &expired] {
        assert!(!log.contains(token.as_str()), "a token is in the log");
    }
    let (_, metrics) = admin::ask_with(admin, "GET", "/metrics", &operator, "").await;
    for (_, reason, _) in &kinds {
        let label = format!("reason=\"{reason}\"");
        let name = "bookstore_calls_refused";
        let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(&label));
        let line = line.unwrap_or_else(|| panic!("{reason} in {metrics}"));
        assert!(line.ends_with(&format!(" {CALLS}")), "{line}");
    }
    assert!(!metrics.contains("token:eve"), "no principal is in the metrics");
}

async fn logins_are_logged_without_their_emails(engine: Engine) {
    let files = AccessFiles::new(&for_members(""));
    let ada = bearer(&files.token("ada"));
    let server = files.apply(TestServer::builder(engine)).start().await;
    let metadata = [("authorization", ada.as_str())];
    let user = json!({"user": {"email": "grace@example.org", "username": "grace",
        "full_name": "Grace", "password": "compile the compiler"}});
    let user = call_with(&server, "UserService/CreateUser", user, &metadata).await;
    let user = user.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    for password in ["compile the compiler", "guessed"] {
        let login = json!({"email": "grace@example.org", "password": password});
        let _ = call_with(&server, "UserService/VerifyPassword", login, &metadata).await;
    }
    until("both logins are logged", SOON, async || audited(&server, "login").len() == 2).await;
    let lines = audited(&server, "login");
    let logged: Vec<_> = lines.iter().map(|it| (&it["outcome"], &it["user"])).collect();
    assert_eq!(logged, [(&json!("right"), &user["id"]), (&json!("wrong"), &Value::Null)]);
    assert!(lines.iter().all(|line| line["principal"] == "token:ada"), "{lines:?}");
    let log = server.logs().so_far().join("\n");
    assert!(!log.contains("grace@example.org") && !log.contains("guessed"), "no email");
}

//! The admin address under a policy: the section `[operators]`.

use std::net::SocketAddr;

use bookstore_tests::{AccessFiles, Engine, Replicated, SOON, TestServer, policy, until};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::bearer;
use crate::{bad_input::send, credentials::audited_with};

/// Makes a request with headers; returns the whole answer.
async fn ask(address: SocketAddr, request: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the admin address");
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// The code of an answer.
fn code(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code")
}

/// A service with these files and an admin address.
async fn start_with_admin(files: &AccessFiles) -> (TestServer, SocketAddr) {
    let builder = files.apply(TestServer::builder(Engine::Sqlite)).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = builder.start().await;
    let address = server.admin_address().await;
    (server, address)
}

const PATHS: [&str; 8] =
    ["/", "/status", "/pools", "/topology", "/calls", "/metrics", "/policy/calls", "/log-level"];

#[tokio::test]
async fn operators_see_and_change_by_their_lines() {
    let text = policy(|_| "nobody".to_owned(), "");
    let files = AccessFiles::new(&format!(
        "{text}[operators]\nsee = \"member other\"\nchange = \"member\"\n"
    ));
    let (ada, eve) = (files.token("ada"), files.token("eve"));
    let (server, address) = start_with_admin(&files).await;
    let header = |token: &str| format!("authorization: Bearer {token}\r\n");
    for path in PATHS {
        let get = format!("GET {path}");
        for headers in [String::new(), header("x"), header(&eve) + &header(&ada)] {
            let answer = ask(address, &get, &headers, "").await;
            assert_eq!(code(&answer), 401, "{path} {headers}");
            assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
        }
        for token in [&ada, &eve] {
            let answer = ask(address, &get, &header(token), "").await;
            assert!(![401, 403].contains(&code(&answer)), "{path}: {answer}");
        }
    }
    let put = "PUT /log-level";
    assert_eq!(code(&ask(address, put, "", "debug").await), 401);
    assert_eq!(code(&ask(address, put, &header(&eve), "debug").await), 403);
    let level = ask(address, "GET /log-level", &header(&eve), "").await;
    assert!(!level.ends_with("debug\n"), "{level}");
    assert_eq!(code(&ask(address, put, &header(&ada), "debug").await), 200);
    for path in ["/livez", "/readyz"] {
        assert_eq!(code(&ask(address, &format!("GET {path}"), "", "").await), 200, "{path}");
    }
    let is_forbidden = |line: &Value| line["reason"] == "METHOD_FORBIDDEN";
    let lines = audited_with(&server, "refused", is_forbidden).await;
    let forbidden = lines.iter().find(|line| is_forbidden(line));
    let line = forbidden.expect("a line of the refusal");
    assert_eq!((&line["method"], &line["principal"]), (&put.into(), &"token:eve".into()));
    let logs = server.logs().so_far().join("\n");
    assert!(!logs.contains(&ada) && !logs.contains(&eve), "a token is in the log");
}

#[tokio::test]
async fn admin_paths_are_closed_without_operators_and_open_without_a_policy() {
    let files = AccessFiles::new(&policy(|_| "member".to_owned(), ""));
    let header = format!("authorization: Bearer {}\r\n", files.token("ada"));
    let (_server, address) = start_with_admin(&files).await;
    assert_eq!(code(&ask(address, "GET /status", &header, "").await), 403);
    assert_eq!(code(&ask(address, "GET /livez", &header, "").await), 200);
    let builder = TestServer::builder(Engine::Sqlite).env("ADMIN_ADDR", "127.0.0.1:0");
    let server = builder.start().await;
    let address = server.admin_address().await;
    assert_eq!(code(&ask(address, "GET /status", "", "").await), 200);
}

/// The name of a host is for operators. Others learn whether they read what may be older.
#[tokio::test]
async fn only_operators_learn_which_replica_served_them() {
    let text = policy(|_| "member other".to_owned(), "");
    let files = AccessFiles::new(&format!("{text}[operators]\ndiagnose = \"member\"\n"));
    let (ada, eve) = (files.token("ada"), files.token("eve"));
    let cluster = Replicated::start(1).await;
    let builder = TestServer::builder(Engine::Postgres).url(&cluster.urls("bookstore_app"));
    let server = files.apply(builder).start().await;
    let served_by = async |token: &str, consistency: &str| {
        let header = bearer(token);
        let metadata = [("authorization", header.as_str()), ("consistency", consistency)];
        let path = "/bookstore.v1.CategoryService/ListCategories";
        let answer = send(server.channel(), path, Vec::new(), &metadata).await.expect("a list");
        answer.metadata().get("served-by").expect("a node").to_str().expect("ASCII").to_owned()
    };
    until("the replica answers reads", SOON, async || {
        served_by(&ada, "eventual").await != "primary"
    })
    .await;
    let node = served_by(&ada, "eventual").await;
    assert!(node.contains(':'), "{node}");
    assert_eq!(served_by(&eve, "eventual").await, "replica");
    for token in [&ada, &eve] {
        assert_eq!(served_by(token, "strong").await, "primary");
    }
}

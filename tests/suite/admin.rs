//! The admin address: probes, operators' paths, the log level.

mod exposition;

use std::net::SocketAddr;

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Engine, TestServer, on_every_engine, run};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    client,
    lifecycle::{Held, waits_for_lock},
};

on_every_engine!(
    admin_paths_return_health_pools_topology_and_calls,
    log_level_put_takes_effect_at_run_time
);

/// Makes an HTTP request as curl does; returns the code and the body.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    ask_with(address, method, path, "", body).await
}

/// The same with headers, each a whole line.
pub(crate) async fn ask_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("the admin address");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("a code"), body.to_owned())
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, "GET", path, "").await
}

pub(crate) async fn get_json(address: SocketAddr, path: &str) -> Value {
    let (code, body) = get(address, path).await;
    assert_eq!(code, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

async fn with_admin(engine: Engine) -> (TestServer, SocketAddr) {
    let server = TestServer::builder(engine).env("ADMIN_ADDR", "127.0.0.1:0").start().await;
    let address = server.admin_address().await;
    (server, address)
}

async fn admin_paths_return_health_pools_topology_and_calls(engine: Engine) {
    let (server, address) = with_admin(engine).await;
    client::books(&server).list_books(ListBooksRequest::default()).await.expect("a list");
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(address, path).await, (200, "ok\n".to_owned()), "{path}");
    }
    let status = get_json(address, "/status").await;
    assert_eq!(status["status"], "HEALTHY");
    assert!(status["latency_ms"].as_f64().is_some_and(|time| time > 0.0), "{status}");
    let active = status["active_connections"].as_u64().expect("a number");
    // PostgreSQL's own count has the session that counts; SQLite's is that of connections in use.
    assert_eq!(active > 0, engine == Engine::Postgres, "{status}");
    let time = status["time"].as_str().unwrap_or_default();
    assert!(time.contains('T') && time.ends_with("+00:00"), "{status}");
    let encryption = match engine {
        Engine::Postgres => {
            let node = &get_json(address, "/topology").await[0]["node"];
            // The cluster is on this machine: nothing more is asked for.
            json!([{"node": node, "mode": "prefer", "warning": null}])
        }
        Engine::Sqlite => json!([]),
    };
    assert_eq!(status["database_tls"], encryption);
    let pools = get_json(address, "/pools").await;
    let most: Vec<u64> =
        pools.as_array().expect("a list").iter().filter_map(|pool| pool["most"].as_u64()).collect();
    match engine {
        Engine::Postgres => assert_eq!(most, [30], "{pools}"),
        Engine::Sqlite => assert_eq!(most, [1, 4], "{pools}"),
    }
    let topology = get_json(address, "/topology").await;
    let [node] = topology.as_array().expect("a list").as_slice() else { panic!("{topology}") };
    assert_eq!(node["role"], "primary", "{node}");
    assert_eq!(node["ejected"], false, "{node}");
    let seen = ["timeline", "position"].map(|field| !node[field].is_null());
    assert_eq!(seen, [engine == Engine::Postgres; 2], "a file has no timeline: {node}");
    let calls = get_json(address, "/calls").await;
    assert_eq!(calls["in_flight"], 0, "{calls}");
    assert_eq!(get(address, "/nothing").await.0, 404);

    // gRPC health probes use the same address.
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = channel.connect().await.expect("HTTP/2");
    let request = HealthCheckRequest { service: "ready".to_owned() };
    let answer = HealthClient::new(channel).check(request).await.expect("an answer");
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
}

async fn log_level_put_takes_effect_at_run_time(engine: Engine) {
    let (server, address) = with_admin(engine).await;
    assert_eq!(get(address, "/log-level").await, (200, "info\n".to_owned()));
    let (code, answer) = ask(address, "PUT", "/log-level", "loud").await;
    assert!(code == 400 && answer.starts_with("must be off, error"), "{code} {answer}");
    let list = async || {
        client::books(&server).list_books(ListBooksRequest::default()).await.expect("a list");
    };
    let lines_at = |level: &str| {
        let lines = server.logs().json();
        lines.iter().filter(|line| line["message"] == "call" && line["level"] == level).count()
    };
    list().await;
    server.logs().wait_for(|line| line.contains("\"message\":\"call\"")).await;
    let before = lines_at("INFO");
    let quiet = ask(address, "PUT", "/log-level", "warn\n").await;
    assert_eq!(quiet, (200, "warn\n".to_owned()));
    list().await;
    assert_eq!(ask(address, "PUT", "/log-level", "debug").await.0, 200);
    server.logs().wait_for(|line| line.contains("\"log_level\":\"debug\"")).await;
    assert_eq!(lines_at("INFO"), before, "a line at INFO while the level was warn");
    list().await;
    server.logs().wait_for(|line| line.contains("\"level\":\"DEBUG\"")).await;
}

/// An operator needs this when calls hang: the list shows which call, and its request id finds it
/// in the log.
#[tokio::test]
async fn hanging_call_is_listed_with_its_request_id() {
    let (server, address) = with_admin(Engine::Postgres).await;
    let database = server.database();
    let held = Held::table(&database).await;
    let mut books = client::books(&server);
    let call = tokio::spawn(async move {
        let mut request = tonic::Request::new(ListBooksRequest::default());
        request.metadata_mut().insert("request-id", "stuck-1".parse().expect("a value"));
        books.list_books(request).await
    });
    waits_for_lock(&database).await;
    let calls = get_json(address, "/calls").await;
    assert_eq!(calls["in_flight"], 1, "{calls}");
    assert_eq!(calls["oldest"][0]["request_id"], "stuck-1", "{calls}");
    assert_eq!(calls["oldest"][0]["method"], "/bookstore.v1.BookService/ListBooks", "{calls}");
    let pools = get_json(address, "/pools").await;
    assert_eq!(pools[0]["used"], 1, "{pools}");
    held.release().await;
    call.await.expect("no panic").expect("a list");
}

#[tokio::test]
async fn admin_address_is_off_by_default_and_a_taken_port_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let settings = [("ADMIN_ADDR", &*address), ("LISTEN_ADDR", "127.0.0.1:0")];
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("b.db").display());
    let settings = [settings.as_slice(), &[("DATABASE_URL", &*url)]].concat();
    let refused = run(&["serve"], &settings).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains(&format!("admin_addr {address}")), "{refused:?}");
    let server = TestServer::start(Engine::Sqlite).await;
    assert!(!server.logs().so_far().iter().any(|line| line.contains("listening for operators")));
}

//! Callers that take more than their share: each bound, and the sum of all.

mod refused;
mod silence;
mod stored;
mod streams;

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bookstore_proto::v1::GetBookRequest;
use bookstore_server::{
    app, budget,
    config::{Config, SettingFlags},
};
use bookstore_tests::{Engine, Raw, SOON, TestServer, on_every_engine, raw, until};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, body::Body};
use tower::ServiceExt;

use crate::{
    bad_input::{descriptor, form, send},
    client::{self, dynamic, id},
    tidy,
};

on_every_engine!(
    a_request_that_does_not_come_holds_no_permit,
    answers_that_are_not_taken_are_bounded_and_ended,
    passwords_are_counted_and_composed,
    a_weak_hash_is_made_anew,
    patterns_are_bounded,
);

/// The most memory beyond that of an idle service.
const MOST: usize = 256 << 20;

const GET: &str = "/bookstore.v1.BookService/GetBook";

fn encoded(method: &str, request: Value) -> Vec<u8> {
    dynamic(descriptor(method).input(), request).encode_to_vec()
}

async fn call(server: &TestServer, method: &str, request: Value) -> Result<(), Status> {
    let path = format!("/bookstore.v1.{method}");
    send(server.channel(), &path, encoded(method, request), &[]).await.map(drop)
}

fn user(name: &str, password: &str) -> Value {
    let email = format!("{name}@example.com");
    json!({"email": email, "username": name, "full_name": name, "password": password})
}

/// A call as HTTP/2 has it, with a body of its own making.
pub(crate) fn request(path: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(path);
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(body).expect("a request")
}

/// A body that is there at once.
fn whole(bytes: Vec<u8>) -> Body {
    Body::new(http_body_util::Full::new(hyper::body::Bytes::from(bytes)))
}

/// A message with its prefix.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// The status of an answer that has ended or was refused.
async fn status(answer: Response<Incoming>) -> Option<Status> {
    let (parts, body) = answer.into_parts();
    if let Some(status) = Status::from_header_map(&parts.headers) {
        return Some(status);
    }
    let collected = body.collect().await.ok()?;
    Status::from_header_map(collected.trailers()?)
}

#[test]
fn the_sum_of_all_budgets_is_bounded_and_told() {
    let flags = SettingFlags::default();
    // On one core it would be one.
    let threads = ("PASSWORD_THREADS".to_owned(), "2".to_owned());
    let config = Config::load(&flags, std::iter::once(threads)).expect("the defaults");
    let most = app::most_memory(&config);
    assert!(most <= MOST, "the budgets add up to {} MiB", most >> 20);
    let page = fs::read_to_string(tidy::root().join("docs/operations.md")).expect("the page");
    let told = format!("together {} MiB", most >> 20);
    assert!(page.contains(&told), "docs/operations.md doesn't say: {told}");
    let manifest = tidy::root().join("deploy/kubernetes/deployment.yaml");
    let manifest = fs::read_to_string(manifest).expect("the manifest");
    // TLS has buffers of its own.
    let files = [("TLS_CERT_FILE", "cert.pem"), ("TLS_KEY_FILE", "key.pem")];
    let files = files.map(|(name, path)| (name.to_owned(), path.to_owned()));
    let threads = ("PASSWORD_THREADS".to_owned(), "2".to_owned());
    let with_tls = Config::load(&flags, files.into_iter().chain([threads])).expect("TLS");
    let connections = with_tls.server.max_connections as usize;
    assert_eq!(app::most_memory(&with_tls), most + connections * budget::TLS);
    let told = format!("together {} MiB with TLS", app::most_memory(&with_tls) >> 20);
    assert!(page.contains(&told), "docs/operations.md doesn't say: {told}");
    // The service idle, its connections' caches, and what the allocator keeps take the rest.
    let limit = format!("limits: {{memory: {}Mi}}", 2 * (MOST >> 20));
    assert!(manifest.contains(&limit), "the manifests' limit isn't twice the bound: {limit}");
}

/// A body that is never sent, for as long as the sender lives.
pub(crate) type Endless = tokio::sync::mpsc::Sender<Result<Vec<u8>, Status>>;

pub(crate) fn endless() -> (Endless, Body) {
    let (sender, pieces) = tokio::sync::mpsc::channel(1);
    let frames = http_body_util::StreamBody::new(futures_util::StreamExt::map(
        ReceiverStream::new(pieces),
        |piece: Result<Vec<u8>, Status>| piece.map(|it| hyper::body::Frame::data(it.into())),
    ));
    (sender, Body::new(frames))
}

async fn a_request_that_does_not_come_holds_no_permit(engine: Engine) {
    let server = TestServer::builder(engine).env("MAX_CALLS", "8").env("MAX_CALLS_WAITING", "0");
    let server = server.env("REQUEST_TIMEOUT", "1s").start().await;
    let connection = raw(server.address()).await;
    let mut held = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..16 {
        let (sender, body) = endless();
        held.push(sender);
        calls.push(tokio::spawn(connection.clone().oneshot(request(GET, body))));
    }
    // All of them are there once another call of the same connection is answered behind them.
    let body = whole(framed(&GetBookRequest { id: id(1), ..Default::default() }.encode_to_vec()));
    let answer = connection.clone().oneshot(request(GET, body)).await.expect("an answer");
    assert_eq!(status(answer).await.expect("a status").code(), Code::NotFound);
    let get = call(&server, "BookService/GetBook", json!({"id": id(1)})).await;
    assert_eq!(get.expect_err("no such book").code(), Code::NotFound, "others have permits");
    for call in calls {
        let answer = tokio::time::timeout(SOON, call).await.expect("an end").expect("no panic");
        let status = status(answer.expect("an answer")).await.expect("a status");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert!(status.message().contains("request_timeout"), "{status:?}");
    }
}

/// A connection whose answers have a window of so many bytes.
pub(crate) async fn narrow(
    address: SocketAddr,
    window: u32,
) -> hyper::client::conn::http2::SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let mut builder =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) =
        builder.handshake(hyper_util::rt::TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn answers_that_are_not_taken_are_bounded_and_ended(engine: Engine) {
    let server = TestServer::builder(engine).env("MAX_MESSAGE_SIZE", "256KiB");
    let server = server.env("MAX_CONNECTION_BYTES", "512KiB").env("STREAM_IDLE_TIMEOUT", "8s");
    let server = server.start().await;
    let made = json!({"user": user("writer", "correct horse"), "id": id(1)});
    call(&server, "UserService/CreateUser", made).await.expect("a user");
    let post = json!({"title": "t", "content": "c".repeat(100_000), "author_id": id(1)});
    call(&server, "PostService/CreatePost", json!({"post": post, "id": id(2)}))
        .await
        .expect("a post");
    let path = format!("http://{}/bookstore.v1.PostService/GetPost", server.address());
    let message = framed(&encoded("PostService/GetPost", json!({"id": id(2)})));
    let connection = narrow(server.address(), 100).await;
    let calls = (0..20).map(|_| {
        let (mut connection, request) =
            (connection.clone(), request(&path, whole(message.clone())));
        async move {
            connection.ready().await.expect("a connection");
            connection.send_request(request).await.expect("an answer")
        }
    });
    let (mut unread, mut refused) = (Vec::new(), 0);
    for answer in futures_util::future::join_all(calls).await {
        match Status::from_header_map(answer.headers()) {
            None => unread.push(answer),
            Some(status) => {
                let refusal = form(&status).expect("the form of an error");
                refusal.is(Code::ResourceExhausted, "OVERLOADED", &[]);
                refused += 1;
            }
        }
    }
    assert!((1..=6).contains(&unread.len()), "{} answers of 100 kB in 512 KiB", unread.len());
    assert_eq!(unread.len() + refused, 20);
    let get = call(&server, "PostService/GetPost", json!({"id": id(2)})).await;
    get.expect("another connection has room");
    until("the connection is ended", SOON, async || connection.is_closed()).await;
    for answer in unread {
        let ended = answer.into_body().collect().await;
        assert!(ended.is_err(), "an answer that the caller did not take came whole");
    }
}

async fn passwords_are_counted_and_composed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let made = json!({"user": user("typist", "caf\u{e9} au lait"), "id": id(1)});
    call(&server, "UserService/CreateUser", made).await.expect("a user");
    let verify = json!({"email": "typist@example.com", "password": "cafe\u{301} au lait"});
    call(&server, "UserService/VerifyPassword", verify).await.expect("the same password");
    for (field, letter) in [
        ("email", '\u{200b}'),
        ("username", '\u{202e}'),
        ("full_name", '\u{ad}'),
        ("email", '\u{1}'),
    ] {
        let mut made = user("lookalike", "correct horse");
        made[field] = json!(format!("look{letter}alike@example.com"));
        let refused = call(&server, "UserService/CreateUser", json!({"user": made})).await;
        let refusal = form(&refused.expect_err("an invisible letter")).expect("the form");
        refusal.is_invalid(&[&format!("user.{field}")]);
    }
    let batch = |from: u32| {
        let one = |n| json!({"user": user(&format!("u{n}"), "correct horse")});
        let requests: Vec<Value> = (from..from + 60).map(one).collect();
        let value = encoded("UserService/BatchCreateUsers", json!({"requests": requests}));
        let type_url = "type.googleapis.com/bookstore.v1.BatchCreateUsersRequest".to_owned();
        prost_types::Any { type_url, value }
    };
    let execute = bookstore_proto::v1::ExecuteRequest { requests: vec![batch(0), batch(100)] };
    let path = "/bookstore.v1.TransactionService/Execute";
    let began = Instant::now();
    let refused = send(server.channel(), path, execute.encode_to_vec(), &[]).await;
    let refusal = form(&refused.expect_err("120 passwords")).expect("the form");
    refusal.is_invalid(&["requests"]);
    assert!(began.elapsed() < Duration::from_secs(1), "none was hashed");
}

async fn a_weak_hash_is_made_anew(engine: Engine) {
    let old = TestServer::builder(engine).env("PASSWORD_PASSES", "1").start().await;
    let made = json!({"user": user("old", "correct horse"), "id": id(1)});
    call(&old, "UserService/CreateUser", made).await.expect("a user");
    let new = TestServer::builder(engine).on(old.database()).start().await;
    let count = async |server: &TestServer, passes: u32| {
        let like = format!("$argon2id$v=19$m=19456,t={passes},%");
        let sql = format!("SELECT username FROM users WHERE password_hash LIKE '{like}'");
        server.sql(&sql).await.len()
    };
    assert_eq!((count(&new, 1).await, count(&new, 2).await), (1, 0));
    let verify = json!({"email": "old@example.com", "password": "correct horse"});
    call(&new, "UserService/VerifyPassword", verify.clone()).await.expect("the password");
    until("the hash is renewed", SOON, async || count(&new, 2).await == 1).await;
    call(&new, "UserService/VerifyPassword", verify).await.expect("the password still");
}

async fn patterns_are_bounded(engine: Engine) {
    let server = TestServer::start(engine).await;
    let list =
        async |method: &str, filter: String| call(&server, method, json!({"filter": filter})).await;
    let (posts, books) = ("PostService/ListPosts", "BookService/ListBooks");
    list(posts, format!("content:{}", "a".repeat(64))).await.expect("64 characters");
    list(books, format!("title:{}", "a".repeat(200))).await.expect("200 characters");
    let many = |count: usize| vec!["title:a"; count].join(" OR ");
    list(books, many(32)).await.expect("32 patterns");
    for (method, filter) in [
        (posts, format!("content:{}", "a".repeat(65))),
        (posts, "content:a content:b".to_owned()),
        (books, format!("title:{}", "a".repeat(201))),
        (books, many(33)),
    ] {
        let refused = list(method, filter).await.expect_err("too much to look for");
        form(&refused).expect("the form").is_invalid(&["filter"]);
    }
}

/// On PostgreSQL: a lock delays the list, and no other read.
#[tokio::test]
async fn a_list_that_takes_too_long_is_ended() {
    let server = TestServer::builder(Engine::Postgres).env("DATABASE_READ_TIMEOUT", "300ms");
    let server = server.start().await;
    let held = crate::lifecycle::Held::table(&server.database()).await;
    let began = Instant::now();
    let ended = call(&server, "BookService/ListBooks", json!({})).await.expect_err("a lock");
    form(&ended).expect("the form").is(Code::DeadlineExceeded, "STATEMENT_TIMEOUT", &[]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    call(&server, "CategoryService/ListCategories", json!({})).await.expect("another table");
    held.release().await;
    call(&server, "BookService/ListBooks", json!({})).await.expect("the connection is used again");
}

/// On one engine: the transport is the same.
#[tokio::test]
async fn the_protocol_is_held_to() {
    let server = TestServer::start(Engine::Sqlite).await;
    let connection: Raw = raw(server.address()).await;
    let message = framed(&GetBookRequest { id: id(1), ..Default::default() }.encode_to_vec());
    let ask = async |request| connection.clone().oneshot(request).await.expect("an answer");
    let mut get = request(GET, Body::empty());
    *get.method_mut() = Method::GET;
    let answer = ask(get).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()["allow"], "POST");
    let twice = ask(request(GET, whole([message.clone(), message.clone()].concat()))).await;
    let refused = status(twice).await.expect("a status");
    form(&refused).expect("the form").is(Code::InvalidArgument, "MALFORMED_MESSAGE", &[]);
    let mut much = request(GET, whole(message));
    let value = "b".repeat(17_000).parse().expect("a value");
    much.headers_mut().insert("x-much", value);
    let refused = status(ask(much).await).await.expect("a status");
    form(&refused).expect("the form").is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
    let unknown = format!("/bookstore.v1.X/{}", "a".repeat(7_000));
    let refused = status(ask(request(&unknown, Body::empty())).await).await.expect("a status");
    assert_eq!(refused.code(), Code::Unimplemented);
    let long = server.logs().so_far().into_iter().find(|line| line.len() > 1_000);
    assert!(long.is_none(), "{long:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = server.database().url().replace("sqlite://", "");
        let file = file.split('?').next().expect("a path");
        let mode = fs::metadata(file).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    }
    drop(client::books(&server));
}

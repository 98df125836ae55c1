//! Refusals before a handler: metadata, bytes that decode to no message, unknown methods. And the
//! largest requests that are accepted.

use bookstore_proto::v1::GetBookRequest;
use bookstore_tests::{Engine, TestServer, on_every_engine, raw};
use http::{StatusCode, header::CONTENT_TYPE};
use prost_reflect::prost::Message;
use serde_json::json;
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceExt;

use super::{descriptor, form, populate, rows, send};
use crate::client::{Refusal, dynamic, id};

on_every_engine!(
    bad_request_metadata_is_refused,
    bytes_that_decode_to_no_message_are_refused,
    unknown_method_returns_unimplemented,
    other_protocols_are_refused_in_http,
    compressed_request_is_refused,
    compressed_message_without_an_encoding_is_refused,
    largest_allowed_values_are_accepted,
);

const GET: &str = "/bookstore.v1.BookService/GetBook";

fn get() -> Vec<u8> {
    GetBookRequest { id: id(1), ..Default::default() }.encode_to_vec()
}

async fn bad_request_metadata_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    let long = "x".repeat(129);
    let key = "6e0a3c52-58cf-4f3e-8a4c-0f6b8f6a9b7e";
    for (key, value) in [
        ("request-id", ""),
        ("request-id", "two words"),
        ("request-id", &long),
        ("grpc-timeout", "soon"),
        ("grpc-timeout", "5"),
        ("grpc-timeout", "-1S"),
        ("grpc-timeout", "123456789S"),
        ("consistency", "maybe"),
        ("consistency", ""),
        ("consistency", "Strong"),
        ("consistency", "at-least"),
        ("validate-only", "yes"),
        ("validate-only", "True"),
        ("field-mask", ""),
        ("field-mask", "isbn"),
        ("idempotency-key", "x"),
        ("idempotency-key", ""),
        ("consistency-token", ""),
        ("consistency-token", "x"),
    ] {
        let status = send(server.channel(), GET, get(), &[(key, value)]).await;
        let refusal = form(&status.expect_err(key)).expect("the form of an error");
        refusal.is(Code::InvalidArgument, "INVALID_METADATA", &[]).says("key", key);
    }
    for key in ["request-id", "consistency", "validate-only", "field-mask"] {
        let twice = [(key, "strong"), (key, "strong")];
        let status = send(server.channel(), GET, get(), &twice).await;
        let refusal = form(&status.expect_err(key)).expect("the form of an error");
        refusal.is(Code::InvalidArgument, "INVALID_METADATA", &[]).says("key", key);
    }
    let credentials = [("authorization", "Bearer x")];
    let status = send(server.channel(), GET, get(), &credentials).await;
    let refusal = form(&status.expect_err("no caller to report")).expect("the form of an error");
    refusal.is(Code::Unimplemented, "METADATA_NOT_SUPPORTED", &[]).says("key", "authorization");
    for (key, value) in [
        ("request-id", &long[1..]),
        ("request-id", "!~\"'\\"),
        ("grpc-timeout", "10S"),
        ("grpc-timeout", "99999999H"),
        ("consistency", "session"),
        ("consistency", "strong"),
        ("consistency", "eventual"),
        ("validate-only", "false"),
        // Reads change nothing and may be repeated, so they take no key.
        ("validate-only", "true"),
        ("idempotency-key", key),
        ("traceparent", "garbage"),
        ("x-anything", "else"),
    ] {
        let answer = send(server.channel(), GET, get(), &[(key, value)]).await;
        let answer = answer.unwrap_or_else(|status| panic!("{key} {value}: {status:?}"));
        let request_id = answer.metadata().get("request-id").expect("a request id");
        if key == "request-id" {
            assert_eq!(request_id, value);
        }
    }
}

async fn bytes_that_decode_to_no_message_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    let before = rows(&server).await;
    // A cut tag, a length past the end, a text that isn't UTF-8, a wrong wire type.
    let malformed: [&[u8]; 6] =
        [&[0xff], &[0x0a, 0x7f], &[0x0a, 2, 0xc3, 0x28], &[0x08, 1], &[0x0a], &[0x07]];
    for method in ["GetBook", "CreateBook", "BatchDeleteBooks"] {
        for body in malformed {
            let path = format!("/bookstore.v1.BookService/{method}");
            let answer = send(server.channel(), &path, body.to_vec(), &[]).await;
            let refusal = form(&answer.expect_err("no message")).expect("the form of an error");
            refusal.is(Code::InvalidArgument, "MALFORMED_MESSAGE", &[]);
        }
    }
    // Larger than 4 MiB by one byte, and by far.
    for size in [(4 << 20) + 1, 5 << 20, 20 << 20] {
        for method in ["GetBook", "BatchCreateBooks"] {
            let path = format!("/bookstore.v1.BookService/{method}");
            let answer = send(server.channel(), &path, vec![0; size], &[]).await;
            let refusal = form(&answer.expect_err("too large")).expect("the form of an error");
            refusal.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]).says("limit", "4194304");
        }
    }
    assert_eq!(rows(&server).await, before);
    send(server.channel(), GET, get(), &[]).await.expect("the service goes on");
}

async fn unknown_method_returns_unimplemented(engine: Engine) {
    let server = TestServer::start(engine).await;
    let long = format!("/bookstore.v1.BookService/{}", "x".repeat(15_000));
    for path in [
        "/bookstore.v1.BookService/Nothing",
        "/bookstore.v1.BookService/getBook",
        "/bookstore.v1.BookService/",
        "/bookstore.v1.BookService",
        "/bookstore.v2.BookService/GetBook",
        "/BookService/GetBook",
        "/nothing",
        "/",
        &long,
    ] {
        let status = send(server.channel(), path, get(), &[]).await.expect_err("no method");
        let shown: String = path.chars().take(60).collect();
        let refusal = form(&status).unwrap_or_else(|problem| panic!("{shown}: {problem}"));
        refusal.is(Code::Unimplemented, "METHOD_NOT_FOUND", &[]);
    }
    // A caller's text in an error is bounded.
    let mut health = HealthClient::new(server.channel());
    let service = "x".repeat(100_000);
    let status = health.check(HealthCheckRequest { service }).await.expect_err("no such name");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    assert!(status.message().len() < 1_000, "{} bytes", status.message().len());
}

/// The service accepts no compressed requests. The test compares tonic's code and not its message.
async fn compressed_request_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let gzip = [("grpc-encoding", "gzip")];
    for method in ["BookService/GetBook", "BookService/CreateBook", "TransactionService/Transact"] {
        let path = format!("/bookstore.v1.{method}");
        let status = send(server.channel(), &path, get(), &gzip).await.expect_err("no gzip");
        let refusal = form(&status).expect("the form of an error");
        refusal.is(Code::Unimplemented, "METADATA_NOT_SUPPORTED", &[]).says("key", "grpc-encoding");
        assert!(status.message().contains("gzip"), "{status:?}");
        let accepted = status.metadata().get("grpc-accept-encoding");
        assert_eq!(accepted.and_then(|it| it.to_str().ok()), Some("identity"), "{status:?}");
    }
    let status = send(server.channel(), "/bookstore.v1.BookService/Nothing", get(), &gzip).await;
    let refusal = form(&status.expect_err("no method")).expect("the form of an error");
    refusal.is(Code::Unimplemented, "METHOD_NOT_FOUND", &[]);
    let identity = [("grpc-encoding", "identity")];
    let status = send(server.channel(), GET, get(), &identity).await.expect_err("no such book");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
}

/// A message says that it is compressed, and no `grpc-encoding` says how (gRPC over HTTP/2,
/// Length-Prefixed-Message).
async fn compressed_message_without_an_encoding_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let message = String::from_utf8(get()).expect("a message of ASCII alone");
    let length = u8::try_from(message.len()).expect("a short message");
    for encoding in [None, Some("identity")] {
        let frame = format!("\x01\0\0\0{}{message}", char::from(length));
        let request = http::Request::post(GET).header(CONTENT_TYPE, "application/grpc");
        let request = match encoding {
            Some(encoding) => request.header("grpc-encoding", encoding),
            None => request,
        };
        let request = request.body(Body::new(frame)).expect("a request");
        let answer = raw(server.address()).await.oneshot(request).await.expect("an answer");
        let status = Status::from_header_map(answer.headers()).expect("a status");
        let refusal = form(&status).expect("the form of an error");
        refusal.is(Code::Internal, "MALFORMED_MESSAGE", &[]);
        assert!(status.message().contains("grpc-encoding"), "{status:?}");
    }
}

/// A client that doesn't speak gRPC gets an HTTP status.
async fn other_protocols_are_refused_in_http(engine: Engine) {
    let server = TestServer::start(engine).await;
    let connection = raw(server.address()).await;
    // A gRPC frame: uncompressed, the length, the message.
    let message = String::from_utf8(get()).expect("a message of ASCII alone");
    let length = u8::try_from(message.len()).expect("a short message");
    let frame = format!("\0\0\0\0{}{message}", char::from(length));
    let call = async |content_type: Option<&str>| {
        let request = http::Request::post(GET);
        let request = match content_type {
            Some(content_type) => request.header(CONTENT_TYPE, content_type),
            None => request,
        };
        let request = request.body(Body::new(frame.clone())).expect("a request");
        connection.clone().oneshot(request).await.expect("an answer")
    };
    for refused in [
        None,
        Some("application/json"),
        Some("application/grpc-web"),
        Some("application/grpc-web+proto"),
        Some("application/grpc-web-text"),
        Some("application/grpcx"),
        Some("text/plain"),
    ] {
        let answer = call(refused).await;
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{refused:?}");
    }
    for taken in ["application/grpc", "application/grpc+proto"] {
        let answer = call(Some(taken)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{taken}");
        // The request was read: the error is that there is no such book.
        let status = answer.headers().get("grpc-status").map(|status| status.as_bytes());
        assert_eq!(status, Some(&b"5"[..]), "{taken}: {:?}", answer.headers());
    }
}

/// Each bound is an accepted value, and the next value, in the table, is refused.
async fn largest_allowed_values_are_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    let filter = format!("title = \"{}\"", "𝔘".repeat(4_096 - 10));
    let order_by = format!("title{}", " ".repeat(1_024 - 5));
    let entries: Vec<_> =
        (100..1_100).map(|at| json!({"id": id(at), "allow_missing": true})).collect();
    for (method, request) in [
        (
            "CategoryService/CreateCategory",
            json!({"category": {"name": "𝔘".repeat(255), "description": "𝔘".repeat(10_000)}}),
        ),
        ("BookService/ListBooks", json!({"filter": filter})),
        ("BookService/ListBooks", json!({"order_by": order_by})),
        ("BookService/ListBooks", json!({"skip": 10_000, "page_size": i32::MAX})),
        ("BookService/ListBooks", json!({"order_by": "title, author, price, stock"})),
        ("BookService/BatchGetBooks", json!({"ids": vec![id(1); 1_000]})),
        ("BookService/BatchDeleteBooks", json!({"requests": entries})),
    ] {
        let body = dynamic(descriptor(method).input(), request).encode_to_vec();
        let answer = send(server.channel(), &format!("/bookstore.v1.{method}"), body, &[]).await;
        if let Err(status) = answer {
            panic!("{method}: {:?}", Refusal::from(&status));
        }
    }
    // A message of exactly 4 MiB: a long and wrong etag.
    let method = descriptor("BookService/DeleteBook");
    let body = |etag: usize| {
        let request = json!({"id": id(1), "etag": "x".repeat(etag)});
        dynamic(method.input(), request).encode_to_vec()
    };
    const LARGEST: usize = 4 << 20;
    let others = body(LARGEST).len() - LARGEST;
    let body = body(LARGEST - others);
    assert_eq!(body.len(), LARGEST);
    let path = "/bookstore.v1.BookService/DeleteBook";
    let status = send(server.channel(), path, body, &[]).await.expect_err("a wrong etag");
    Refusal::from(&status).is_stale("etag");
}

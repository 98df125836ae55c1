//! What holds of every method of the contract, taken from the contract itself: a new method is tried
//! without a line here.
//!
//! A few policies give each method another pattern of yes and no, so that no line can stand for
//! another one unnoticed.

use std::collections::HashMap;

use bookstore_proto::v1::ExecuteRequest;
use bookstore_tests::{AccessFiles, Engine, TestServer, methods, on_every_engine, policy, raw};
use http::{Request, StatusCode};
use prost::Message;
use prost_types::Any;
use tonic::Code;
use tower::ServiceExt;

use super::{bearer, call, forbidden, start};
use crate::{
    bad_input::{descriptor, rows, send},
    client::Refusal,
    transact::Led,
};

on_every_engine!(
    each_line_opens_its_method_and_no_other,
    each_entry_of_execute_is_judged_by_its_own_line,
    each_step_of_transact_is_judged_by_its_own_line,
);

/// The methods that carry the parts of other calls.
const CARRIERS: [&str; 2] = ["TransactionService/Execute", "TransactionService/Transact"];

/// Bytes that are no message.
const MALFORMED: [u8; 2] = [0xff, 0xff];

/// The numbers of the methods.
fn numbers() -> HashMap<String, usize> {
    methods().into_iter().zip(1..).collect()
}

/// How many policies distinguish all methods.
fn policies() -> u32 {
    usize::BITS - methods().len().leading_zeros()
}

/// Whether the policy with this bit allows a method to members; others may call the rest.
fn allows(numbers: &HashMap<String, usize>, bit: u32, method: &str) -> bool {
    numbers[method] >> bit & 1 == 1
}

/// A policy in which every second method, every second pair of methods, and so on, is a member's.
fn patterned(bit: u32) -> String {
    let numbers = numbers();
    let rule = |method: &str| match allows(&numbers, bit, method) {
        _ if CARRIERS.contains(&method) => "everyone".to_owned(),
        true => "member".to_owned(),
        false => "other".to_owned(),
    };
    policy(rule, "")
}

/// The method that does for one entry what a batch does for many, by AIP-231 to 235.
fn of_entries(method: &str) -> Option<String> {
    let (service, name) = method.split_once('/')?;
    let rest = name.strip_prefix("Batch")?;
    let singular = match rest.strip_suffix("ies") {
        Some(rest) => format!("{rest}y"),
        None => rest.strip_suffix('s')?.to_owned(),
    };
    Some(format!("{service}/{singular}"))
}

/// Puts a policy in force and waits until it is.
async fn put_in_force(server: &TestServer, files: &AccessFiles, bit: u32) {
    let in_force = |line: &String| line.contains("files have changed and are in force");
    let before = server.logs().so_far().iter().filter(|line| in_force(line)).count();
    files.set_policy(&patterned(bit));
    bookstore_tests::until("the policy is in force", bookstore_tests::SOON, async || {
        server.logs().so_far().iter().filter(|line| in_force(line)).count() > before
    })
    .await;
}

/// A service whose policy lets no caller call, and the tokens of a member and of another caller.
async fn start_closed(engine: Engine) -> (AccessFiles, [(bool, String); 2], TestServer) {
    let files = AccessFiles::new(&policy(|_| "nobody".to_owned(), ""));
    let tokens = [(true, files.token("ada")), (false, files.token("eve"))];
    let server = start(engine, &files).await;
    (files, tokens, server)
}

async fn each_line_opens_its_method_and_no_other(engine: Engine) {
    let numbers = numbers();
    let (files, tokens, server) = start_closed(engine).await;
    let before = rows(&server).await;
    for bit in 0..policies() {
        put_in_force(&server, &files, bit).await;
        for method in methods() {
            if CARRIERS.contains(&method.as_str()) {
                continue;
            }
            for (is_member, token) in &tokens {
                let may = |method: &str| allows(&numbers, bit, method) == *is_member;
                let entries = of_entries(&method);
                let opens = may(&method) && entries.as_deref().is_none_or(may);
                let answer = call(&server, &method, &MALFORMED, token).await;
                let shown = format!("{method}, policy {bit}, member: {is_member}");
                match forbidden(answer) {
                    None => assert!(opens, "{shown} passes"),
                    Some(refusal) => {
                        assert!(!opens, "{shown}: {refusal:?}");
                        assert_eq!(refusal.code, Code::PermissionDenied);
                        let at_fault =
                            if may(&method) { entries.expect(&shown) } else { method.clone() };
                        refusal.says("method", &format!("bookstore.v1.{at_fault}"));
                    }
                }
            }
        }
    }
    assert_eq!(rows(&server).await, before);
}

/// The method's request as a part of another call.
fn part(method: &str, value: &[u8]) -> Any {
    let name = descriptor(method).input().full_name().to_owned();
    // Who names the type doesn't matter: the part behind the slash does.
    Any { type_url: format!("evil.example/{name}"), value: value.to_vec() }
}

/// Whether a caller may have a part, which is judged as a call of its method.
fn may_have(numbers: &HashMap<String, usize>, bit: u32, is_member: bool, method: &str) -> bool {
    let may =
        |method: &str| CARRIERS.contains(&method) || allows(numbers, bit, method) == is_member;
    may(method) && of_entries(method).as_deref().is_none_or(may)
}

async fn each_entry_of_execute_is_judged_by_its_own_line(engine: Engine) {
    let numbers = numbers();
    let (files, tokens, server) = start_closed(engine).await;
    let before = rows(&server).await;
    for bit in 0..policies() {
        put_in_force(&server, &files, bit).await;
        for method in methods() {
            for (is_member, token) in &tokens {
                let request = ExecuteRequest { requests: vec![part(&method, &MALFORMED)] };
                let answer = call(&server, CARRIERS[0], &request.encode_to_vec(), token).await;
                let refusal = Refusal::from(&answer.expect_err("no entry is a message"));
                let shown = format!("{method}, policy {bit}, member: {is_member}");
                match may_have(&numbers, bit, *is_member, &method) {
                    true => drop(refusal.is_invalid(&["requests[0]"])),
                    false => {
                        assert_eq!(refusal.reason, "METHOD_FORBIDDEN", "{shown}");
                        refusal.is(Code::PermissionDenied, "METHOD_FORBIDDEN", &["requests[0]"]);
                        refusal.says("method", &format!("bookstore.v1.{method}"));
                    }
                }
            }
        }
    }
    assert_eq!(rows(&server).await, before);
}

async fn each_step_of_transact_is_judged_by_its_own_line(engine: Engine) {
    use bookstore_proto::v1::{Begin, transact_request::Step, transact_response::Step as Answer};
    let numbers = numbers();
    let (files, tokens, server) = start_closed(engine).await;
    let before = rows(&server).await;
    for bit in 0..policies() {
        put_in_force(&server, &files, bit).await;
        for (is_member, token) in &tokens {
            let mut open: Option<Led> = None;
            for method in methods() {
                let shown = format!("{method}, policy {bit}, member: {is_member}");
                let step = Step::Request(part(&method, &MALFORMED));
                let answer = loop {
                    let mut led = match open.take() {
                        Some(led) => led,
                        None => {
                            let header = bearer(token);
                            let metadata = [("authorization", header.as_str())];
                            let mut led = Led::open_with(server.address(), &metadata).await;
                            led.step(Step::Begin(Begin::default())).await.expect("begun");
                            led
                        }
                    };
                    match led.step(step.clone()).await {
                        Ok(answer) => {
                            open = Some(led);
                            break answer;
                        }
                        // Steps that do nothing share one idle time.
                        Err(status) => {
                            let refusal = Refusal::from(&status);
                            assert_eq!(refusal.reason, "TRANSACTION_TIMEOUT", "{shown}");
                        }
                    }
                };
                let Answer::Failure(failure) = answer else { panic!("{shown}: {answer:?}") };
                let wanted = match may_have(&numbers, bit, *is_member, &method) {
                    true => Code::InvalidArgument,
                    false => Code::PermissionDenied,
                };
                assert_eq!(Code::from(failure.code), wanted, "{shown}: {}", failure.message);
            }
        }
    }
    assert_eq!(rows(&server).await, before);
}

/// Paths of no method, and what is no call (RFC 9113 has paths that are compared byte by byte).
#[tokio::test]
async fn no_other_spelling_of_a_path_opens_a_method() {
    let files = AccessFiles::new(&policy(|_| "nobody".to_owned(), ""));
    let header = bearer(&files.token("ada"));
    let server = start(Engine::Sqlite, &files).await;
    for path in [
        "/bookstore.v1.BookService/listbooks",
        "/bookstore.v1.bookservice/ListBooks",
        "//bookstore.v1.BookService/ListBooks",
        "/bookstore.v1.BookService//ListBooks",
        "/bookstore.v1.BookService/ListBooks/",
        "/bookstore.v1.BookService/%4cistBooks",
        "/bookstore.v1.BookService/./ListBooks",
        "/bookstore.v1.BookService/%2e/ListBooks",
        "/BookService/ListBooks",
    ] {
        for metadata in [&[][..], &[("authorization", header.as_str())]] {
            let answer = send(server.channel(), path, Vec::new(), metadata).await;
            let refusal = Refusal::from(&answer.expect_err(path));
            assert_eq!(refusal.reason, "METHOD_NOT_FOUND", "{path}");
        }
    }
    // Every call is a POST (gRPC, PROTOCOL-HTTP2): other methods of HTTP open none.
    let connection = raw(server.address()).await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::builder()
            .method(method)
            .uri("/bookstore.v1.BookService/ListBooks")
            .header("content-type", "application/grpc")
            .header("authorization", &header);
        let request = request.body(tonic::body::Body::empty()).expect("a request");
        let answer = connection.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()["allow"], "POST", "{method}");
        assert!(!answer.headers().contains_key("grpc-status"), "{method}: {answer:?}");
    }
    // A query is no part of the path: the method is the same, and so is its rule.
    let path = "/bookstore.v1.BookService/ListBooks?x=1";
    let answer = send(server.channel(), path, Vec::new(), &[("authorization", &header)]).await;
    assert_eq!(Refusal::from(&answer.expect_err(path)).reason, "METHOD_FORBIDDEN");
}

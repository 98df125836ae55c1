//! Requests that the service refuses: one table over every method, and requests that fail before a
//! handler.
//!
//! Each refusal has its code, its reason and every violated field. Nothing is written, and no
//! detail of the database is shown.

mod categories_and_books;
mod crowded;
mod masks;
pub(crate) mod standard;
mod transport;

use std::{collections::BTreeSet, sync::LazyLock};

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_tests::{Engine, Row, TestServer, on_every_engine};
use prost_reflect::{
    MethodDescriptor,
    bytes::{Buf, BufMut},
    prost::Message,
};
use regex::Regex;
use serde_json::{Value, json};
use standard::Kind;
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};
use tonic_types::StatusExt;

use crate::{
    client::{Refusal, dynamic},
    order::{Placed, place},
    reasons::REASONS,
};

/// The kinds of resources in the table. A new resource adds its line.
pub(crate) const KINDS: &[&Kind] = &[
    &standard::BOOK,
    &standard::CATEGORY,
    &crate::item::KIND,
    &crate::user::KIND,
    &crate::post::KIND,
    &crate::review::KIND,
    &crate::order::KIND,
];

/// Tables besides those of the kinds.
const OTHER_TABLES: &[&str] = &["cart_items", "carts", "order_items", "sealing_keys"];

on_every_engine!(
    every_bad_request_of_the_table_is_refused,
    thousand_field_violations_fit_one_bounded_error
);

/// A request and its refusal.
pub(crate) struct Case {
    /// The service and the method, as `BookService/GetBook`.
    method: String,
    /// The encoded message, and a part of it for messages of a failing test.
    body: Vec<u8>,
    shown: String,
    code: Code,
    reason: &'static str,
    fields: Vec<String>,
}

/// A request with values at these fields that break rules of the contract.
#[track_caller]
pub(crate) fn bad(method: &str, request: Value, fields: &[&str]) -> Case {
    let shown = request.to_string().chars().take(300).collect();
    let body = dynamic(descriptor(method).input(), request).encode_to_vec();
    raw(method, body, shown, fields)
}

pub(crate) fn raw(method: &str, body: Vec<u8>, shown: String, fields: &[&str]) -> Case {
    Case {
        method: method.to_owned(),
        body,
        shown,
        code: Code::InvalidArgument,
        reason: "FIELD_INVALID",
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}

impl Case {
    /// The service and the method, as `BookService/GetBook`, and the encoded request.
    pub(crate) fn into_request(self) -> (String, Vec<u8>) {
        (self.method, self.body)
    }

    /// The same, with another reason.
    pub(crate) fn because(self, code: Code, reason: &'static str) -> Self {
        Self { code, reason, ..self }
    }

    pub(crate) fn missing(self) -> Self {
        self.because(Code::NotFound, "RESOURCE_NOT_FOUND")
    }

    pub(crate) fn stale(self) -> Self {
        self.because(Code::Aborted, "ETAG_MISMATCH")
    }

    pub(crate) fn taken(self) -> Self {
        self.because(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS")
    }

    pub(crate) fn no_reference(self) -> Self {
        self.because(Code::FailedPrecondition, "REFERENCE_NOT_FOUND")
    }
}

/// All cases.
pub(crate) fn table() -> Vec<Case> {
    let mut table = Vec::new();
    for kind in KINDS {
        table.extend(standard::cases(kind));
        table.extend(masks::cases(kind));
        table.extend((kind.own)());
    }
    table.extend(crate::book_transfer::cases());
    table.extend(crate::cart::cases());
    table.extend(crate::transaction::cases());
    table
}

pub(crate) fn descriptor(method: &str) -> MethodDescriptor {
    let (service, name) = method.split_once('/').expect("Service/Method");
    let service = format!("bookstore.v1.{service}");
    let service = DESCRIPTOR_POOL.get_service_by_name(&service).expect("a service");
    service.methods().find(|found| found.name() == name).expect("a method of the service")
}

#[test]
fn every_method_has_bad_requests_in_the_table() {
    let services = DESCRIPTOR_POOL.services();
    let ours = services.filter(|service| service.package_name() == "bookstore.v1");
    let methods: BTreeSet<String> = ours
        .flat_map(|service| {
            let methods =
                service.methods().map(|method| format!("{}/{}", service.name(), method.name()));
            methods.collect::<Vec<_>>()
        })
        .collect();
    let tried: BTreeSet<String> = table().into_iter().map(|case| case.method).collect();
    assert_eq!(methods, tried);
}

/// Creates the rows that each kind needs.
pub(crate) async fn populate(server: &TestServer) {
    for kind in KINDS {
        let requests = (kind.rows)();
        if !requests.is_empty() {
            let method = kind.method("BatchCreate");
            let body = dynamic(descriptor(&method).input(), json!({"requests": requests}));
            let path = format!("/bookstore.v1.{method}");
            let answer = send(server.channel(), &path, body.encode_to_vec(), &[]).await;
            answer.unwrap_or_else(|status| panic!("{method}: {:?}", Refusal::from(&status)));
        }
    }
    // Orders of the third user, which no case deletes.
    let orders: [Placed<'_>; 2] = [(1, 3, "PENDING", &[]), (2, 3, "SHIPPED", &[])];
    place(&server.database(), &orders).await;
}

/// All rows of the database.
pub(crate) async fn rows(server: &TestServer) -> Vec<Row> {
    let mut rows = Vec::new();
    let others = OTHER_TABLES.iter().map(|table| (*table).to_owned());
    for table in KINDS.iter().map(|kind| kind.table()).chain(others) {
        rows.extend(server.sql(&format!("SELECT * FROM {table} ORDER BY id")).await);
    }
    rows
}

async fn every_bad_request_of_the_table_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    populate(&server).await;
    let before = rows(&server).await;
    let created: usize = KINDS.iter().map(|kind| (kind.rows)().len()).sum();
    assert_eq!(before.len(), created + 2 + 5 + 1, "with two orders, five categories and a key");
    let mut wrong = Vec::new();
    for case in table() {
        let path = format!("/bookstore.v1.{}", case.method);
        let answer = send(server.channel(), &path, case.body.clone(), &[]).await;
        if let Err(problem) = judge(&case, answer) {
            wrong.push(format!("{} {}\n    {problem}", case.method, case.shown));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(rows(&server).await, before);
}

/// The batch entry that a field belongs to.
static ENTRY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:requests|ids)\[(\d+)\]").expect("a pattern"));

/// The parts of a message that are quoted from a request.
static QUOTED: LazyLock<Regex> = LazyLock::new(|| Regex::new("`[^`]*`").expect("a pattern"));

/// Texts that only internals contain: SQL, names of the schema, programs.
static INSIDE: LazyLock<Regex> = LazyLock::new(|| {
    let others = OTHER_TABLES.iter().map(|table| (*table).to_owned());
    let tables: Vec<String> = KINDS.iter().map(|kind| kind.table()).chain(others).collect();
    let words = [
        r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|SQLSTATE)\b",
        &format!(r#""({})""#, tables.join("|")),
        r"_(pkey|fkey|key|check|idx)\b|price_micros|created_at|sqlx|sea_orm|(?i:sqlite|postgres)",
    ];
    Regex::new(&words.join("|")).expect("a pattern")
});

/// The problem of an answer.
fn judge(case: &Case, answer: Result<Response<Vec<u8>>, Status>) -> Result<(), String> {
    let status = match answer {
        Ok(_) => return Err("it was done".to_owned()),
        Err(status) => status,
    };
    let refusal = form(&status)?;
    if (refusal.code, refusal.reason.as_str()) != (case.code, case.reason) {
        return Err(format!("wanted {:?} {}: {refusal:?}", case.code, case.reason));
    }
    let fields: BTreeSet<&String> = refusal.fields.iter().collect();
    if fields != case.fields.iter().collect() {
        return Err(format!("wanted {:?}: {refusal:?}", case.fields));
    }
    // The first violated field of a batch shows the entry.
    let first = refusal.fields.first().and_then(|field| ENTRY.captures(field));
    let first = first.map(|found| found[1].to_owned());
    match refusal.metadata.get("index") == first.as_ref() {
        true => Ok(()),
        false => Err(format!("wanted index {first:?}: {refusal:?}")),
    }
}

/// The form of every error; see errors.proto.
pub(crate) fn form(status: &Status) -> Result<Refusal, String> {
    let details = status.get_error_details();
    if details.error_info().is_none() {
        return Err(format!("no ErrorInfo: {status:?}"));
    }
    let refusal = Refusal::from(status);
    if refusal.domain != "bookstore" || !REASONS.contains(&refusal.reason) {
        return Err(format!("no reason of the contract: {refusal:?}"));
    }
    if status.metadata().get("request-id").is_none() {
        return Err(format!("no request-id: {:?}", status.metadata()));
    }
    // Values of the request are quoted.
    let visible = format!("{} {details:?}", status.message());
    let visible = QUOTED.replace_all(&visible, "");
    // Fields of the contract that end like a constraint's name or are named like a table.
    let visible = visible.replace("idempotency_key", "").replace(r#"field: "items""#, "");
    match INSIDE.find(&visible) {
        Some(leak) => Err(format!("it shows {:?}: {visible}", leak.as_str())),
        None => Ok(refusal),
    }
}

/// Errors are bounded, since trailers have a size limit and a larger one would break the
/// connection.
async fn thousand_field_violations_fit_one_bounded_error(engine: Engine) {
    let server = TestServer::start(engine).await;
    let entry = json!({"id": "X", "book": {"title": "\0", "stock": -1}});
    let many: Vec<Value> = (0..1_000).map(|_| entry.clone()).collect();
    let ids = vec!["x".repeat(3_000); 1_000];
    for (method, request, violations) in [
        ("BookService/BatchCreateBooks", json!({"requests": many}), "5000"),
        ("BookService/BatchGetBooks", json!({"ids": ids}), "1000"),
    ] {
        let body = dynamic(descriptor(method).input(), request).encode_to_vec();
        let path = format!("/bookstore.v1.{method}");
        let answer = send(server.channel(), &path, body, &[]).await;
        let refusal = form(&answer.expect_err("bad values")).expect("the form of an error");
        assert_eq!(
            (refusal.code, refusal.reason.as_str()),
            (Code::InvalidArgument, "FIELD_INVALID")
        );
        assert!(!refusal.fields.is_empty(), "{refusal:?}");
        refusal.says("violations", violations).says("index", "0");
    }
    populate(&server).await;
}

/// Calls a method with any bytes as its message.
pub(crate) async fn send(
    channel: Channel,
    path: &str,
    body: Vec<u8>,
    metadata: &[(&'static str, &str)],
) -> Result<Response<Vec<u8>>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.expect("a service to call");
    let mut request = Request::new(body);
    for (key, value) in metadata {
        request.metadata_mut().append(*key, value.parse().expect("a value of metadata"));
    }
    grpc.unary(request, path.parse::<PathAndQuery>().expect("a path"), Bytes).await
}

/// Messages in wire format.
#[derive(Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

//! The documents are true: the README's first screen, the tables of docs/, and every documented
//! call with its answer.

use std::{collections::HashMap, fs};

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_server::config::SETTINGS;
use bookstore_tests::{Engine, TestServer};
use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _},
};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataKey},
};

use crate::{client, tidy};

/// A page of the documents, by its path from the workspace's folder.
fn page(path: &str) -> String {
    fs::read_to_string(tidy::root().join(path)).expect(path)
}

/// The rows of the table under a heading, cells trimmed.
pub(crate) fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = |row: &str| row.split(" |").map(|cell| cell.trim().to_owned()).collect();
    rows.skip(1).map(cells).collect()
}

pub(crate) fn code(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn readme_first_screen_has_the_two_commands() {
    let text = page("README.md");
    let screen: Vec<&str> = text.lines().take(30).collect();
    for command in ["cargo run -- serve --sample-data", "./test"] {
        assert!(screen.iter().any(|line| line.split("  ").next() == Some(command)), "{command}");
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let value = |default: &str| if default.is_empty() { String::new() } else { code(default) };
    let wanted: Vec<Vec<String>> = SETTINGS
        .iter()
        .map(|setting| vec![code(setting.key), value(setting.default), setting.doc.to_owned()])
        .collect();
    let rows = table(&page("docs/settings.md"), "Settings");
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(rows, wanted);
}

#[test]
fn every_reason_is_documented_with_its_code() {
    let path = "proto/bookstore/v1/errors.proto";
    let contract = fs::read_to_string(tidy::root().join(path)).expect("the contract's errors");
    let lines: Vec<&str> = contract.lines().map(str::trim).collect();
    let reason = |pair: &[&str]| {
        let name = pair[1].strip_prefix("ERROR_REASON_")?.split_once(" = ")?.0;
        let status = pair[0].strip_prefix("// ")?.split_once('.')?.0;
        (name != "UNSPECIFIED").then(|| vec![code(name), status.to_owned()])
    };
    let wanted: Vec<Vec<String>> = lines.windows(2).filter_map(reason).collect();
    assert!(!wanted.is_empty());
    let rows = table(&page("docs/api.md"), "Errors");
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(rows, wanted);
}

#[tokio::test]
async fn every_documented_filter_matches_its_documented_count() {
    let server = TestServer::builder(Engine::Sqlite).flag("--sample-data").start().await;
    let filters = table(&page("docs/api.md"), "Filters");
    assert!(!filters.is_empty());
    for row in filters {
        let filter = row[0].trim_matches('`');
        let body = json!({"filter": filter, "total_size_mode": "TOTAL_SIZE_MODE_EXACT"});
        let answer = call(&server, "bookstore.v1.BookService/ListBooks", body).await;
        let answer = answer.expect(filter);
        assert_eq!(answer["totalSize"], row[1], "{filter}");
    }
}

#[tokio::test]
async fn every_documented_call_returns_its_documented_answer() {
    for (path, least) in [("README.md", 4), ("docs/tour.md", 12)] {
        let server = TestServer::builder(Engine::Sqlite).flag("--sample-data").start().await;
        let calls = repeat(&server, &page(path)).await;
        assert!(calls >= least, "{calls} calls in {path}");
    }
}

/// Makes every call of a page, in its order, and compares the answers with the documented ones.
async fn repeat(server: &TestServer, text: &str) -> usize {
    let mut actual_values = HashMap::new();
    let mut calls = 0;
    for block in text.split("```console\n$ grpcurl ").skip(1) {
        let block = block.split("\n```").next().unwrap_or_default();
        let Some((flags, (body, rest))) =
            block.split_once("-d '").and_then(|(flags, d)| Some((flags, d.split_once('\'')?)))
        else {
            continue;
        };
        let header = flags.split_once("-H '").and_then(|(_, header)| header.split_once('\''));
        let metadata = header.and_then(|(header, _)| header.split_once(": "));
        let (target, printed) = rest.split_once('\n').expect("an address and an answer");
        let (target, printed) = match target.trim() {
            "\\" => printed.split_once('\n').expect("a target and an answer"),
            target => (target, printed),
        };
        let method = target.trim().strip_prefix("localhost:50051 ").expect("the default address");
        if method.starts_with("grpc.") {
            continue;
        }
        calls += 1;
        let mut body: Value = serde_json::from_str(body).expect("a request in JSON");
        replace(&mut body, &actual_values);
        match call_with(server, method, body, metadata).await {
            Ok(answer) => {
                let printed = serde_json::from_str(printed).expect("an answer in JSON");
                compare(&printed, &answer, &mut actual_values);
            }
            Err(refused) => {
                let lines = format!(
                    "ERROR:\n  Code: {:?}\n  Message: {}\n",
                    refused.code(),
                    refused.message()
                );
                assert!(printed.starts_with(&lines), "{lines}{printed}");
            }
        }
    }
    calls
}

/// The names whose values differ in every run.
const CHANGING: [&str; 4] = ["createTime", "updateTime", "etag", "nextPageToken"];

/// Fails where an answer differs from the documented one, and records this run's values of the
/// changing names.
fn compare(printed: &Value, actual: &Value, actual_values: &mut HashMap<String, Value>) {
    match (printed, actual) {
        (Value::Object(printed), Value::Object(actual)) => {
            let names = |object: &serde_json::Map<_, _>| {
                let mut names: Vec<String> = object.keys().cloned().collect();
                names.sort();
                names
            };
            assert_eq!(names(printed), names(actual));
            for (name, value) in printed {
                match value {
                    Value::String(text) if CHANGING.contains(&name.as_str()) => {
                        actual_values.insert(text.clone(), actual[name].clone());
                    }
                    value => compare(value, &actual[name], actual_values),
                }
            }
        }
        (Value::Array(printed), Value::Array(actual)) => {
            assert_eq!(printed.len(), actual.len());
            for (printed, actual) in printed.iter().zip(actual) {
                compare(printed, actual, actual_values);
            }
        }
        // A number in a Struct is a double, which grpcurl prints as short as possible.
        (Value::Number(printed), Value::Number(actual)) => {
            assert_eq!(printed.as_f64(), actual.as_f64());
        }
        (printed, actual) => assert_eq!(printed, actual),
    }
}

/// Puts this run's values into a request, as a reader would paste them.
fn replace(body: &mut Value, actual_values: &HashMap<String, Value>) {
    match body {
        Value::String(text) => {
            if let Some(actual) = actual_values.get(text) {
                *body = actual.clone();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, actual_values)),
        Value::Object(members) => {
            members.values_mut().for_each(|value| replace(value, actual_values))
        }
        _ => {}
    }
}

/// Calls a method by name, in JSON, as grpcurl does.
async fn call(server: &TestServer, method: &str, body: Value) -> Result<Value, Status> {
    call_with(server, method, body, None).await
}

/// The same with metadata: keys and values.
async fn call_with(
    server: &TestServer,
    method: &str,
    body: Value,
    metadata: Option<(&str, &str)>,
) -> Result<Value, Status> {
    let (service, name) = method.split_once('/').expect("service/method");
    let service = DESCRIPTOR_POOL.get_service_by_name(service).expect("a service");
    let mut methods = service.methods();
    let found = methods.find(|found| found.name() == name).expect(method);
    let mut request = Request::new(client::dynamic(found.input(), body));
    if let Some((key, value)) = metadata {
        let key: MetadataKey<Ascii> = key.parse().expect("a key of metadata");
        request.metadata_mut().insert(key, value.parse().expect("a value of metadata"));
    }
    let mut grpc = Grpc::new(server.channel());
    grpc.ready().await.expect("a connection");
    let path = format!("/{method}").parse().expect("a path");
    let answer = grpc.unary(request, path, Dynamic(found.output())).await?;
    Ok(serde_json::to_value(answer.into_inner()).expect("JSON"))
}

/// Messages of a type that is known only at run time.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

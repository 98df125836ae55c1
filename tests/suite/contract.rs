//! The contract as text equals a golden file, so that every change of it shows in review as the
//! diff of one file.

mod service_config;

use std::{collections::HashMap, env, fmt::Write as _, fs};

use bookstore_tests::{Engine, TestServer};
use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, ServiceDescriptor, Value,
};

use crate::{bad_input::send, tidy};

const GOLDEN: &str = "tests/golden/bookstore.v1.txt";
const REWRITE: &str = "BOOKSTORE_WRITE_GOLDEN=1 cargo test --workspace contract::";

#[test]
fn contract_equals_the_golden_file() {
    let path = tidy::root().join(GOLDEN);
    let actual = render();
    if env::var_os("BOOKSTORE_WRITE_GOLDEN").is_some() {
        fs::write(&path, &actual).expect("the golden file can be written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let changes = changes(&golden, &actual);
    assert!(
        changes.is_empty(),
        "the contract differs from {GOLDEN}; if the change is intended, run\n  {REWRITE}\n\n{changes}"
    );
}

fn render() -> String {
    let mut files: Vec<FileDescriptor> = bookstore_proto::DESCRIPTOR_POOL
        .files()
        .filter(|file| file.package_name() == "bookstore.v1")
        .collect();
    files.sort_by(|a, b| a.name().cmp(b.name()));
    let mut text = format!("# Made by: {REWRITE}\n");
    for file in files {
        let _ = writeln!(text, "\nfile {}", file.name());
        file.services().for_each(|service| render_service(&mut text, &service));
        file.messages().for_each(|message| render_message(&mut text, &message));
        file.enums().for_each(|kind| render_enum(&mut text, &kind));
        file.extensions().for_each(|extension| {
            let _ = writeln!(
                text,
                "\nextend {}\n  {} = {}: {}{}",
                extension.containing_message().full_name(),
                extension.full_name(),
                extension.number(),
                kind(&extension.kind()),
                options(&extension.options()),
            );
        });
    }
    text
}

fn render_service(text: &mut String, service: &ServiceDescriptor) {
    let _ = writeln!(text, "\nservice {}{}", service.full_name(), options(&service.options()));
    for method in service.methods() {
        let stream = |streaming| if streaming { "stream " } else { "" };
        let _ = writeln!(
            text,
            "  rpc {}({}{}) returns ({}{}){}",
            method.name(),
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name(),
            options(&method.options()),
        );
    }
}

fn render_message(text: &mut String, message: &MessageDescriptor) {
    let _ = writeln!(text, "\nmessage {}{}", message.full_name(), options(&message.options()));
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    for field in fields {
        let label = match field.cardinality() {
            Cardinality::Repeated => "repeated ",
            _ if field.field_descriptor_proto().proto3_optional() => "optional ",
            _ => "",
        };
        let _ = writeln!(
            text,
            "  {} = {}: {label}{}{}{}",
            field.name(),
            field.number(),
            kind(&field.kind()),
            field
                .containing_oneof()
                .filter(|_| label.is_empty())
                .map_or(String::new(), |oneof| { format!(" of {}", oneof.name()) }),
            options(&field.options()),
        );
    }
    for range in message.reserved_ranges() {
        let _ = writeln!(text, "  reserved {} to {}", range.start, range.end - 1);
    }
    for name in message.reserved_names() {
        let _ = writeln!(text, "  reserved {name}");
    }
    message.child_messages().for_each(|message| render_message(text, &message));
    message.child_enums().for_each(|kind| render_enum(text, &kind));
}

fn render_enum(text: &mut String, kind: &EnumDescriptor) {
    let _ = writeln!(text, "\nenum {}{}", kind.full_name(), options(&kind.options()));
    for value in kind.values() {
        let name = format!("  {} = {}", value.name(), value.number());
        let _ = writeln!(text, "{name}{}", options(&value.options()));
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(kind) => kind.full_name().to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

/// Every option that is set, each on its own line; extensions by their full name.
fn options(options: &DynamicMessage) -> String {
    let plain = options.fields().map(|(field, value)| {
        format!("\n      {} = {}", field.name(), constant(&field.kind(), value))
    });
    let extensions = options.extensions().map(|(field, value)| {
        format!("\n      ({}) = {}", field.full_name(), constant(&field.kind(), value))
    });
    let mut lines: Vec<String> = plain.chain(extensions).collect();
    lines.sort();
    lines.concat()
}

fn constant(kind: &Kind, value: &Value) -> String {
    let named = |number| kind.as_enum().and_then(|names| names.get_value(number));
    match value {
        Value::Message(message) => {
            let fields = message.fields().map(|(field, value)| {
                format!("{}: {}", field.name(), constant(&field.kind(), value))
            });
            let extensions = message.extensions().map(|(field, value)| {
                format!("[{}]: {}", field.full_name(), constant(&field.kind(), value))
            });
            format!("{{{}}}", fields.chain(extensions).collect::<Vec<_>>().join(", "))
        }
        Value::List(values) => {
            let values = values.iter().map(|value| constant(kind, value));
            format!("[{}]", values.collect::<Vec<_>>().join(", "))
        }
        Value::EnumNumber(number) => {
            named(*number).map_or_else(|| number.to_string(), |value| value.name().to_owned())
        }
        Value::String(text) => format!("{text:?}"),
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        other => format!("{other:?}"),
    }
}

/// The removed (`-`) and added (`+`) lines between two texts, each under the last heading that both
/// have; empty if they are equal.
fn changes(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // The longest common tail of each pair of tails.
    let mut common: HashMap<(usize, usize), usize> = HashMap::new();
    let at = |common: &HashMap<_, usize>, place| common.get(&place).copied().unwrap_or(0);
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let longest = if old[i] == new[j] {
                at(&common, (i + 1, j + 1)) + 1
            } else {
                at(&common, (i + 1, j)).max(at(&common, (i, j + 1)))
            };
            common.insert((i, j), longest);
        }
    }
    let (mut i, mut j, mut text, mut heading) = (0, 0, String::new(), None);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            if !old[i].is_empty() && !old[i].starts_with(' ') {
                heading = Some(old[i]);
            }
            (i, j) = (i + 1, j + 1);
            continue;
        }
        if let Some(heading) = heading.take() {
            let _ = writeln!(text, "{heading}");
        }
        let old_goes = at(&common, (i + 1, j)) >= at(&common, (i, j + 1));
        if j == new.len() || (i < old.len() && old_goes) {
            let _ = writeln!(text, "- {}", old[i]);
            i += 1;
        } else {
            let _ = writeln!(text, "+ {}", new[j]);
            j += 1;
        }
    }
    text
}

#[test]
fn contract_change_is_printed_under_its_heading() {
    let old = "message A\n  a = 1: string\n  b = 2: string\n\nmessage B\n  c = 1: string\n";
    assert_eq!(changes(old, old), "");
    let new = old.replace("c = 1: string", "c = 1: int32").replace("  b = 2: string\n", "");
    assert_eq!(
        changes(old, &new),
        "message A\n-   b = 2: string\nmessage B\n-   c = 1: string\n+   c = 1: int32\n"
    );
}

/// The rules of values are options that plain code generation drops.
#[test]
fn contract_text_contains_rules_and_field_behaviours() {
    let text = render();
    assert!(text.contains("rpc GetBook(bookstore.v1.GetBookRequest) returns (bookstore.v1.Book)"));
    assert!(text.contains("(buf.validate.field) = {"), "{text}");
    assert!(text.contains("(google.api.field_behavior) = "), "{text}");
    assert!(text.contains("{string: {[bookstore.v1.lower_uuid]: true}}"), "{text}");
    assert!(text.contains("(buf.validate.predefined) = {cel: ["), "{text}");
}

/// A client that builds messages from reflection finds the types of an Any only among the imports
/// of the Any's file.
#[test]
fn transaction_file_imports_every_type_an_any_holds() {
    const PLACE: &str = "bookstore/v1/transaction.proto";
    let pool = &bookstore_proto::DESCRIPTOR_POOL;
    let file = pool.get_file_by_name(PLACE).expect("the file of transactions");
    let imports: Vec<String> = file.dependencies().map(|file| file.name().to_owned()).collect();
    let ours = pool.files().filter(|file| file.package_name() == "bookstore.v1");
    let missing: Vec<String> = ours
        .map(|file| file.name().to_owned())
        .filter(|name| name != PLACE && !imports.contains(name))
        .collect();
    assert!(missing.is_empty(), "{PLACE} doesn't import {}", missing.join(", "));
    let errors = pool.get_file_by_name("bookstore/v1/errors.proto").expect("the file of errors");
    let details = errors.dependencies().any(|file| file.name() == "google/rpc/error_details.proto");
    assert!(details, "errors.proto doesn't import the details of errors");
}

/// Clients that read errors by reflection need the types of their details too.
#[tokio::test]
async fn reflection_returns_every_type_an_any_holds() {
    let server = TestServer::start(Engine::Sqlite).await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for (symbol, beside) in [
        ("google.rpc.ErrorInfo", "RetryInfo"),
        ("google.rpc.ErrorInfo", "google/rpc/error_details.proto"),
        ("google.rpc.Status", "google/rpc/status.proto"),
        ("bookstore.v1.Book", "CreateBookRequest"),
    ] {
        // file_containing_symbol (grpc/reflection/v1/reflection.proto).
        let length = u8::try_from(symbol.len()).expect("a short name");
        let asked = [&[0x22, length][..], symbol.as_bytes()].concat();
        let answer = send(server.channel(), path, asked, &[]).await.expect("reflection");
        let text = String::from_utf8_lossy(answer.get_ref());
        assert!(text.contains(beside), "{symbol}: {text}");
    }
}

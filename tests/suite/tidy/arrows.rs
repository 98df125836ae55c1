//! The arrows between the modules of `server`: they point downward only. Cargo can't hold them,
//! since any module of a crate may import any other.

use regex::Regex;

use super::source::Source;

/// What each place in `server/src` may name of the others. A place that isn't here
/// is a fault, so that a new one gets its line.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &[]),
    ("lib", &["command"]),
    (
        "command",
        &[
            "admin",
            "app",
            "config",
            "drift",
            "listener",
            "meters",
            "migrations",
            "resource",
            "rpc",
            "security",
            "shutdown",
            "telemetry",
            "traces",
            "transaction",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "budget",
            "config",
            "drift",
            "listener",
            "meters",
            "migrations",
            "resource",
            "rpc",
            "sample_data",
            "security",
            "shutdown",
            "telemetry",
            "traces",
            "transaction",
        ],
    ),
    ("meters", &[]),
    ("migrations", &[]),
    ("traces", &[]),
    ("budget", &["meters"]),
    ("resource", &["meters", "rpc", "security", "traces"]),
    ("transaction", &["meters", "rpc", "security", "traces"]),
    ("rpc", &["budget", "meters", "security", "traces"]),
    ("security", &[]),
    ("admin", &["config", "drift", "listener", "meters", "rpc", "shutdown", "telemetry"]),
    ("drift", &["migrations", "rpc"]),
    ("sample_data", &["budget", "rpc"]),
    ("config", &["listener", "shutdown", "telemetry"]),
    ("telemetry", &["config", "meters", "traces"]),
    ("listener", &["budget", "config", "meters", "shutdown", "telemetry"]),
    ("shutdown", &["config", "telemetry"]),
];

/// The commands that are clients of a running service, and what they may name.
const CLIENTS: &str = r"^server/src/command/(import/|export/|transfer/|health\.rs)";
const CLIENTS_NAME: &[&str] = &["config", "shutdown"];

/// Crates that a place or a file must not name, each with the reason.
const FOREIGN: &[(&str, &[&str], &str)] = &[
    (r"^server/src/(rpc|security)/", &["bookstore_entity"], "no table is known here"),
    (r"^server/src/resource/\w+/service\.rs$", &["sea_orm", "sqlx"], "a handler knows no SQL"),
    (
        CLIENTS,
        &[
            "bookstore_entity",
            "bookstore_migration",
            "bookstore_proto",
            "bookstore_query",
            "bookstore_store",
            "sea_orm",
            "sqlx",
            "tonic_health",
        ],
        "a command that is a client knows the contract through bookstore_client alone",
    ),
];

/// A file of the server names only what stands below it.
pub(super) fn arrows(path: &str, text: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("server/src/") else {
        return Vec::new();
    };
    let place = inside.split(['/', '.']).next().unwrap_or_default();
    let source = Source::parse(text);
    let mut faults = foreign(path, &source);
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == place) else {
        faults.push(format!("{path}: tidy has no arrows for {place}"));
        return faults;
    };
    let is_client = Regex::new(CLIENTS).expect("a pattern").is_match(path);
    let allowed = if is_client { CLIENTS_NAME } else { allowed };
    for (line, named) in named(&source.code) {
        let top = named.first().map(String::as_str).unwrap_or_default();
        if ARROWS.iter().any(|(name, _)| *name == top) && top != place && !allowed.contains(&top) {
            faults.push(format!("{path}:{line}: {place} must not name {top}"));
        }
        faults.extend(private_part(inside, &named).map(|part| format!("{path}:{line}: {part}")));
    }
    for (line, code) in source.lines() {
        // Else a path could climb out of its place unseen.
        if code.contains("super::super::") {
            faults.push(format!("{path}:{line}: say crate:: instead of super::super::"));
        }
    }
    faults
}

fn foreign(path: &str, source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (place, names, reason) in FOREIGN {
        if !Regex::new(place).expect("a pattern").is_match(path) {
            continue;
        }
        let names = Regex::new(&format!(r"\b({})\b", names.join("|"))).expect("a pattern");
        for (line, code) in source.lines() {
            if let Some(found) = names.find(code) {
                faults.push(format!("{path}:{line}: {}: {reason}", found.as_str()));
            }
        }
    }
    faults
}

/// A resource is reached through its `mod.rs` alone.
fn private_part(inside: &str, named: &[String]) -> Option<String> {
    let [top, resource, part, ..] = named else {
        return None;
    };
    let own = inside.starts_with(&format!("resource/{resource}/"));
    let private = ["service", "convert", "operations"].contains(&part.as_str());
    (top == "resource" && private && !own)
        .then(|| format!("{part} is {resource}'s own: use what its mod.rs exports"))
}

/// Every path from the crate's root with its line: `crate::a::b`, groups spread out.
fn named(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        spread(&code[at + "crate::".len()..], &[], &mut paths);
        found.extend(paths.into_iter().map(|path| (line, path)));
    }
    found
}

/// Adds the paths that the text starts with; answers what follows them.
fn spread<'a>(text: &'a str, before: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') && !rest.is_empty() {
            rest = spread(rest, before, paths).trim_start();
            // What else may stand in a group: `as name` and commas.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
        }
        return rest.trim_start().strip_prefix('}').unwrap_or("");
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let path = [before, &[text[..end].to_owned()]].concat();
    match text[end..].strip_prefix("::") {
        Some(rest) => spread(rest, &path, paths),
        None => {
            paths.push(path);
            &text[end..]
        }
    }
}

#[test]
fn groups_are_spread() {
    let code =
        "use crate::{\n store::{self, Call as C, error::{A, B}},\n rpc::*,\n};\ncrate::app::run();";
    let paths: Vec<_> =
        named(code).into_iter().map(|(l, path)| format!("{l} {}", path.join("."))).collect();
    assert_eq!(
        paths,
        [
            "1 store.self",
            "1 store.Call",
            "1 store.error.A",
            "1 store.error.B",
            "1 rpc.",
            "5 app.run"
        ]
    );
}

#[test]
fn upward_arrows_are_found() {
    let find = |path, text| arrows(path, text).len();
    assert_eq!(find("server/src/rpc/status.rs", "use crate::{resource::Entry, meters::CALLS};"), 1);
    assert_eq!(find("server/src/rpc/status.rs", "use crate::security::password;"), 0);
    assert_eq!(find("server/src/rpc/status.rs", "fn f() { crate::config::load() }"), 1);
    assert_eq!(find("server/src/listener.rs", "use crate::rpc::load;"), 1);
    assert_eq!(find("server/src/app.rs", "use crate::{command, rpc};"), 1);
    assert_eq!(find("server/src/novel.rs", ""), 1);
    assert_eq!(find("server/src/command/import/cut.rs", "use crate::{rpc::rules, shutdown};"), 1);
    assert_eq!(find("server/src/command/export/mod.rs", "use crate::config::duration;"), 0);
    assert_eq!(find("server/src/rpc/status.rs", "use super::super::app;"), 1);
    assert_eq!(find("server/src/meters.rs", "// crate::rpc\nlet a = \"crate::rpc\";"), 0);
}

#[test]
fn foreign_crates_and_private_parts_are_found() {
    let find = |path, text| arrows(path, text).len();
    assert_eq!(find("server/src/rpc/context.rs", "use bookstore_entity::book;"), 1);
    assert_eq!(find("server/src/command/export/mod.rs", "use bookstore_entity::book;"), 1);
    assert_eq!(find("server/src/command/export/mod.rs", "use bookstore_proto::v1;"), 1);
    assert_eq!(find("server/src/command/export/mod.rs", "use bookstore_client::v1;"), 0);
    assert_eq!(find("server/src/resource/book/service.rs", "use sea_orm::EntityTrait;"), 1);
    assert_eq!(find("server/src/resource/book/operations.rs", "use sea_orm::EntityTrait;"), 0);
    let text = "use crate::resource::book::convert::Title;";
    assert_eq!(find("server/src/resource/category/operations.rs", text), 1);
    assert_eq!(find("server/src/resource/book/operations.rs", text), 0);
}

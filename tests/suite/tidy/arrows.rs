//! The modules of `server` import downward only. Cargo can't check this, since any module of a
//! crate may import any other.

use regex::Regex;

use super::{circles::spread, source::Source};

/// The modules of `server/src` that each module may import. A module without a line is a violation,
/// so that a new one gets its line.
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
            "postgres_programs",
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
    ("postgres_programs", &[]),
    ("traces", &[]),
    ("budget", &["meters"]),
    ("resource", &["meters", "rpc", "security", "traces"]),
    ("transaction", &["meters", "rpc", "security", "traces"]),
    ("rpc", &["budget", "meters", "security", "traces"]),
    ("security", &["config", "meters"]),
    (
        "admin",
        &["config", "drift", "listener", "meters", "rpc", "security", "shutdown", "telemetry"],
    ),
    ("drift", &["migrations", "rpc"]),
    ("sample_data", &["budget", "rpc", "security"]),
    ("config", &["listener", "shutdown", "telemetry"]),
    ("telemetry", &["config", "meters", "traces"]),
    ("listener", &["budget", "config", "meters", "security", "shutdown", "telemetry"]),
    ("shutdown", &["config", "telemetry"]),
];

/// The subcommands that are clients of a running service, and their allowed imports.
const CLIENTS: &str = r"^server/src/command/(import/|export/|transfer/|health\.rs)";
const CLIENTS_NAME: &[&str] = &["config", "shutdown"];

/// Crates that a module or a file must not name, each with the reason.
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

/// A file of the server imports only modules below its own.
pub(super) fn arrows(path: &str, text: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("server/src/") else {
        return Vec::new();
    };
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    let source = Source::parse(text);
    let mut violations = foreign(path, &source);
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        violations.push(format!("{path}: tidy has no arrows for {module}"));
        return violations;
    };
    let is_client = Regex::new(CLIENTS).expect("a pattern").is_match(path);
    let allowed = if is_client { CLIENTS_NAME } else { allowed };
    for (line, named) in named(&source.code) {
        let is_module = ARROWS.iter().any(|(name, _)| *name == named);
        if is_module && named != module && !allowed.contains(&named.as_str()) {
            violations.push(format!("{path}:{line}: {module} must not name {named}"));
        }
    }
    for (line, code) in source.lines() {
        // With this a path could leave its module unseen.
        if code.contains("super::super::") {
            violations.push(format!("{path}:{line}: say crate:: instead of super::super::"));
        }
    }
    violations
}

fn foreign(path: &str, source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (module, names, reason) in FOREIGN {
        if !Regex::new(module).expect("a pattern").is_match(path) {
            continue;
        }
        let names = Regex::new(&format!(r"\b({})\b", names.join("|"))).expect("a pattern");
        for (line, code) in source.lines() {
            if let Some(found) = names.find(code) {
                violations.push(format!("{path}:{line}: {}: {reason}", found.as_str()));
            }
        }
    }
    violations
}

/// The modules of the crate that code names, each with its line: `a` for `crate::a::b`, and each one
/// of a group.
fn named(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        spread(&code[at + "crate::".len()..], &[], &mut paths);
        found.extend(paths.into_iter().filter_map(|(path, _)| Some((line, path.first()?.clone()))));
    }
    found
}

#[test]
fn import_groups_are_expanded() {
    let code =
        "use crate::{\n store::{self, Call as C, error::{A, B}},\n rpc::*,\n};\ncrate::app::run();";
    let names: Vec<_> = named(code).iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(names, ["1 store", "1 store", "1 store", "1 store", "1 rpc", "5 app"]);
}

#[test]
fn upward_import_is_reported() {
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
fn foreign_crate_is_reported() {
    let find = |path, text| arrows(path, text).len();
    assert_eq!(find("server/src/rpc/context.rs", "use bookstore_entity::book;"), 1);
    assert_eq!(find("server/src/command/export/mod.rs", "use bookstore_entity::book;"), 1);
    assert_eq!(find("server/src/command/export/mod.rs", "use bookstore_proto::v1;"), 1);
    assert_eq!(find("server/src/command/export/mod.rs", "use bookstore_client::v1;"), 0);
    assert_eq!(find("server/src/resource/book/service.rs", "use sea_orm::EntityTrait;"), 1);
    assert_eq!(find("server/src/resource/book/operations.rs", "use sea_orm::EntityTrait;"), 0);
}

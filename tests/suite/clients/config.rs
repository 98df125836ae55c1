//! `deploy/service-config.json` is derived from the contract, and the client's crate knows the
//! contract alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use bookstore_client::{Repeat, ServiceConfig, repeat};
use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_server::{app, rpc::method::MethodKind};
use tonic::Code;

use crate::tidy;

/// The paths of the contract's methods.
fn methods() -> Vec<String> {
    let services =
        DESCRIPTOR_POOL.services().filter(|service| service.package_name() == "bookstore.v1");
    services
        .flat_map(|service| {
            let methods = service.methods().map(|method| method.name().to_owned());
            let methods: Vec<_> = methods.collect();
            methods.into_iter().map(move |method| format!("/{}/{method}", service.full_name()))
        })
        .collect()
}

#[test]
fn the_service_config_repeats_what_is_safe() {
    let text = fs::read_to_string(tidy::root().join("deploy/service-config.json"));
    let text = text.expect("the service config");
    let config = ServiceConfig::parse(&text).expect("a service config");
    let registry = app::registry().expect("every method of the contract");
    let always = [Code::Unavailable, Code::Aborted, Code::ResourceExhausted];
    let with_key = [Code::Unavailable, Code::Aborted, Code::ResourceExhausted, Code::Unknown];
    let methods = methods();
    assert!(methods.len() > 70, "{methods:#?}");
    for path in &methods {
        let method = config.method(path);
        let policy = method.retry_policy;
        let codes = policy.map(|policy| policy.retryable_status_codes);
        let repeat = repeat(path).expect("a method of the contract");
        let wanted = match repeat {
            Repeat::Read | Repeat::Idempotent => Some(&always[..]),
            Repeat::WithKey => Some(&with_key[..]),
            Repeat::Never => None,
        };
        assert_eq!(codes.as_deref(), wanted, "{path}");
        assert_eq!(method.timeout.is_some(), wanted.is_some(), "{path}");
        assert_eq!(method.wait_for_ready, Some(true), "{path}");
        // What the contract says of a method is what the service does.
        let kind = registry.at(path).expect("a registered method").kind;
        match (repeat, kind) {
            (Repeat::Read, MethodKind::Read)
            | (Repeat::WithKey, MethodKind::Write)
            | (Repeat::Never, MethodKind::Direct) => {}
            _ => assert!(DIRECT.contains(&path.as_str()), "{path}: {repeat:?}, {kind:?}"),
        }
    }
    // No method by a service's or the default entry: a new one gets its line.
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let entries = document["methodConfig"].as_array().expect("entries");
    let names = entries.iter().flat_map(|entry| entry["name"].as_array().expect("names"));
    let named = names.map(|name| {
        let text = |key: &str| name[key].as_str().unwrap_or_default().to_owned();
        format!("/{}/{}", text("service"), text("method"))
    });
    let named: BTreeSet<String> = named.collect();
    assert_eq!(named, methods.into_iter().collect());
    assert_eq!(config.health_check_service.as_deref(), Some("ready"));
    assert!(config.retry_throttling.is_some());
}

/// Methods that their service carries out by itself, though they don't stream.
const DIRECT: [&str; 4] = [
    "/bookstore.v1.TransactionService/Execute",
    "/bookstore.v1.TransactionService/GetOutcome",
    "/bookstore.v1.UserService/VerifyPassword",
    "/bookstore.v1.CartService/Clear",
];

/// What each package of the lock file needs, by name.
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(tidy::root().join("Cargo.lock")).expect("the lock file");
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let name = package.lines().find(|line| line.starts_with("name = ")).and_then(quoted);
        let needs = packages.entry(name.expect("a name")).or_default();
        let dependencies = package.split("dependencies = [").nth(1).unwrap_or_default();
        for line in dependencies.split(']').next().unwrap_or_default().lines() {
            // With a version behind it where there are several.
            let name = quoted(line);
            needs.extend(name.and_then(|name| name.split(' ').next().map(str::to_owned)));
        }
    }
    packages
}

#[test]
fn the_client_needs_no_database_and_nothing_of_the_server() {
    let packages = locked();
    let mut needed = BTreeSet::new();
    let mut next = vec!["bookstore-client".to_owned()];
    while let Some(name) = next.pop() {
        let needs = packages.get(&name).expect("a locked package");
        if needed.insert(name) {
            next.extend(needs.iter().cloned());
        }
    }
    assert!(needed.contains("tonic") && needed.contains("bookstore-proto"), "{needed:#?}");
    let server = packages.get("bookstore-server").expect("the server");
    assert!(server.contains("bookstore-client"), "its commands use the client");
    let kept_out = |name: &&String| {
        let ours = name.starts_with("bookstore-");
        (ours && !["bookstore-client", "bookstore-proto"].contains(&name.as_str()))
            || ["sea-", "sqlx", "csv", "indicatif", "clap"].iter().any(|it| name.starts_with(it))
    };
    let found: Vec<_> = needed.iter().filter(kept_out).collect();
    assert!(found.is_empty(), "the client's crate needs {found:?}");
}

//! The client's methods match the service's, and the client's crate depends only on the contract.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use bookstore_client::{Repeat, repeat};
use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_server::{app, rpc::method::MethodKind};

use crate::tidy;

/// The contract's repeat rules match the service's kinds of methods, and each service has its
/// client.
#[test]
fn client_methods_match_the_contract_and_the_registry() {
    let registry = app::registry().expect("every method of the contract");
    let mut repeats = BTreeSet::new();
    for method in registry.methods() {
        let repeat = repeat(method.path).expect("a method of the contract");
        match (repeat, method.kind) {
            (Repeat::Read, MethodKind::Read)
            | (Repeat::WithKey, MethodKind::Write)
            | (Repeat::Never, MethodKind::Direct) => {}
            _ => assert!(DIRECT.contains(&method.path), "{}: {repeat:?}", method.path),
        }
        repeats.insert(format!("{repeat:?}"));
    }
    assert_eq!(repeats.len(), 4, "{repeats:?}");
    let path = tidy::root().join("server/client/src/client.rs");
    let client = fs::read_to_string(path).expect("the client");
    let services =
        DESCRIPTOR_POOL.services().filter(|service| service.package_name() == "bookstore.v1");
    for service in services {
        assert!(client.contains(&format!("::{}Client;", service.name())), "{service:?}");
    }
}

/// Unary methods that their service carries out itself, without the registry's write path.
const DIRECT: [&str; 4] = [
    "/bookstore.v1.TransactionService/Execute",
    "/bookstore.v1.TransactionService/GetOutcome",
    "/bookstore.v1.UserService/VerifyPassword",
    "/bookstore.v1.CartService/Clear",
];

/// The dependencies of each package of the lock file, by name.
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(tidy::root().join("Cargo.lock")).expect("the lock file");
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let name = package.lines().find(|line| line.starts_with("name = ")).and_then(quoted);
        let needs = packages.entry(name.expect("a name")).or_default();
        let dependencies = package.split("dependencies = [").nth(1).unwrap_or_default();
        for line in dependencies.split(']').next().unwrap_or_default().lines() {
            // A version follows the name where there are several.
            let name = quoted(line);
            needs.extend(name.and_then(|name| name.split(' ').next().map(str::to_owned)));
        }
    }
    packages
}

#[test]
fn client_crate_depends_on_neither_database_nor_server() {
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

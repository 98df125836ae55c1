//! The client's methods match the service's. `borders.rs` holds what the client's crate depends on.

use std::{collections::BTreeSet, fs};

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

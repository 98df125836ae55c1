//! The properties of the contract's methods: which of them write, and which stream.

use std::{collections::HashMap, sync::LazyLock};

use bookstore_proto::DESCRIPTOR_POOL;
use prost_reflect::{MethodDescriptor, prost_types::method_options::IdempotencyLevel};

/// Whether a call may be sent again after its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// A read: `idempotency_level = NO_SIDE_EFFECTS` in the contract.
    Read,
    /// A second call does what the first one did: `idempotency_level = IDEMPOTENT`.
    Idempotent,
    /// A write: only with an idempotency key.
    WithKey,
    /// A stream, which its caller resumes.
    Never,
}

/// How a method may be repeated, by its path, such as `/bookstore.v1.BookService/GetBook`. None
/// of a method that the contract doesn't have.
#[must_use]
pub fn repeat(path: &str) -> Option<Repeat> {
    static METHODS: LazyLock<HashMap<String, Repeat>> = LazyLock::new(|| {
        let services =
            DESCRIPTOR_POOL.services().filter(|service| service.package_name() == "bookstore.v1");
        let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
        methods.map(|method| (path_of(&method), repeat_of(&method))).collect()
    });
    METHODS.get(path).copied()
}

fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn repeat_of(method: &MethodDescriptor) -> Repeat {
    let proto = method.method_descriptor_proto();
    let level = proto.options.as_ref().map(|options| options.idempotency_level());
    match level {
        _ if method.is_client_streaming() || method.is_server_streaming() => Repeat::Never,
        Some(IdempotencyLevel::NoSideEffects) => Repeat::Read,
        Some(IdempotencyLevel::Idempotent) => Repeat::Idempotent,
        _ => Repeat::WithKey,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_classified_by_the_contract() {
        for (path, wanted) in [
            ("/bookstore.v1.BookService/GetBook", Some(Repeat::Read)),
            ("/bookstore.v1.OrderService/PlaceOrder", Some(Repeat::WithKey)),
            ("/bookstore.v1.TransactionService/GetOutcome", Some(Repeat::Idempotent)),
            ("/bookstore.v1.TransactionService/Transact", Some(Repeat::Never)),
            ("/bookstore.v1.BookTransferService/ExportBooks", Some(Repeat::Never)),
            ("/grpc.health.v1.Health/Check", None),
        ] {
            assert_eq!(repeat(path), wanted, "{path}");
        }
    }
}

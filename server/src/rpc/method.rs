//! The properties of a method.

use std::sync::Arc;

/// A method of the service.
pub struct Method {
    /// Its path: `/bookstore.v1.BookService/GetBook`.
    pub path: &'static str,
    /// Whether it changes anything.
    pub kind: MethodKind,
    /// Whether it stands alone: its request can't be part of a transaction.
    pub stands_alone: bool,
    /// The full name of the message that answers it.
    pub answer: String,
    /// Whether it takes one message and answers one.
    pub unary: bool,
    /// Whether it takes more than one message.
    pub streams_requests: bool,
    /// The full name of the message that it takes.
    pub request: Arc<str>,
    /// Whether a second call with the same request changes nothing more, by the contract's
    /// `idempotency_level`.
    pub idempotent: bool,
}

/// Whether a method changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// It only reads: any fresh node may answer.
    Read,
    /// It writes: only the primary may answer.
    Write,
    /// Its service implements it without the registry: a stream, or several methods at once.
    Direct,
}

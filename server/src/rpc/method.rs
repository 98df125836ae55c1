//! The properties of a method.

use std::sync::Arc;

use bookstore_store::telemetry::instrument::BoundHistogram;
use opentelemetry::KeyValue;
use tonic::Code;

use crate::meters;

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
    /// Counts its calls.
    pub calls: Arc<CallMeter>,
    /// What judges its entries; none if it has none of one kind.
    pub entries: Option<EntryMethod>,
}

/// Records how long the calls of a method took.
pub struct CallMeter {
    method: &'static str,
    /// For the calls that succeed, which are most.
    succeeded: BoundHistogram,
}

impl CallMeter {
    /// Of the method with this path.
    pub fn new(path: &'static str) -> Arc<Self> {
        let method = path.trim_start_matches('/');
        Arc::new(Self { method, succeeded: meters::CALLS.bind() })
    }

    /// Records a call that took so many seconds, by its code and the code's name.
    pub fn record(&self, seconds: f64, code: Code, name: &'static str) {
        let attributes = || {
            [
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.method", self.method),
                KeyValue::new("rpc.response.status_code", name),
            ]
        };
        match code {
            Code::Ok => self.succeeded.record(seconds, attributes),
            _ => meters::CALLS.record(seconds, &attributes()),
        }
    }
}

/// The method that does for one entry what another one does for many: GetBook for BatchGetBooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMethod {
    /// Its path.
    pub path: &'static str,
    /// The field of the first entry in a request: `requests[0]` or `ids[0]`.
    pub field: &'static str,
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

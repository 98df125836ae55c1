//! The spans of calls, as the semantic conventions name and describe them, and how a caller's
//! trace is joined. The store makes the spans below them.
//!
//! Where no traces are exported, a span has only the fields of the log.

use std::sync::atomic::{AtomicBool, Ordering};

use bookstore_store::telemetry::traces::is_on;
use http::HeaderMap;
use opentelemetry::{
    KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Status, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

static JOINS_CALLERS: AtomicBool = AtomicBool::new(true);

/// From now on every call begins a trace of its own, also if its caller sends a trace context.
pub fn leave_callers() {
    JOINS_CALLERS.store(false, Ordering::Relaxed);
}

/// Whether a call belongs to the trace that its caller names.
pub fn joins_callers() -> bool {
    JOINS_CALLERS.load(Ordering::Relaxed)
}

/// Makes a call's span part of its caller's trace.
pub fn join_caller(span: &Span, headers: &HeaderMap) {
    if is_on() {
        let context = TraceContextPropagator::new().extract(&Headers(headers));
        // It fails for a span that the log's level hides, which has no trace either.
        let _ = span.set_parent(context);
    }
}

/// Records a call and its end on its span. `method` is a known method, without a slash in front.
/// Only errors of the server set the span's status to error (OpenTelemetry, semantic conventions
/// for gRPC).
pub fn end_call(
    span: &Span,
    method: Option<&'static str>,
    code: i32,
    name: &'static str,
    is_server_error: bool,
) {
    if !is_on() {
        return;
    }
    // All at once: each access to the span costs more than what is recorded.
    let context = span.context();
    let span = context.span();
    if let Some((service, method)) = method.and_then(|method| method.split_once('/')) {
        span.set_attributes([
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service),
            KeyValue::new("rpc.method", method),
        ]);
    }
    span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code)));
    if is_server_error {
        span.set_status(Status::error(name));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

//! The spans of calls, as the semantic conventions name and describe them.
//!
//! Where no traces go out, a span has what the log says of it and nothing more.

use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::Status,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

static ON: AtomicBool = AtomicBool::new(false);
static JOINS_CALLERS: AtomicBool = AtomicBool::new(true);

/// From now on traces go out.
pub fn set_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Whether traces go out.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// From now on every call begins a trace of its own, whatever its caller sends.
pub fn leave_callers() {
    JOINS_CALLERS.store(false, Ordering::Relaxed);
}

/// Whether a call belongs to the trace that its caller names.
pub fn joins_callers() -> bool {
    JOINS_CALLERS.load(Ordering::Relaxed)
}

/// Lets a call's span belong to its caller's trace, and describes it. `method` is one of the
/// service's own, without a slash in front.
pub fn describe_call(span: &Span, method: &'static str, headers: &HeaderMap, is_traced: bool) {
    if !is_on() {
        return;
    }
    if is_traced {
        let context = TraceContextPropagator::new().extract(&Headers(headers));
        // It fails for a span that the log's level hides, which has no trace either.
        let _ = span.set_parent(context);
    }
    let service = method.split_once('/').map_or("", |(service, _)| service);
    span.set_attribute("rpc.system", "grpc");
    span.set_attribute("rpc.service", service);
    span.set_attribute("rpc.method", method.rsplit('/').next().unwrap_or(method));
}

/// Tells a call's span how it ended. Only the service's own faults are errors of a server's span.
pub fn end_call(span: &Span, code: i32, name: &'static str, is_fault: bool) {
    if is_on() {
        span.set_attribute("rpc.grpc.status_code", i64::from(code));
        if is_fault {
            span.set_status(Status::error(name));
        }
    }
}

/// The span of a part of a call that has a name of its own: what it asks of the database, and
/// what is logged meanwhile, belongs to it.
pub fn operation(name: &'static str) -> Span {
    tracing::info_span!("operation", otel.name = named(name), operation = name)
}

/// A name for a span where traces go out; the log has names of its own.
pub fn named(name: &str) -> Option<&str> {
    is_on().then_some(name)
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

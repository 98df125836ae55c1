//! The spans of calls, as the semantic conventions name and describe them.
//!
//! Where no traces go out, a span has what the log says of it and nothing more.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use http::HeaderMap;
use opentelemetry::{
    KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span as SdkSpan},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();
static JOINS_CALLERS: AtomicBool = AtomicBool::new(true);

/// From now on traces go out, by this tracer.
pub fn set_on(tracer: SdkTracer) {
    // There is one for the whole process.
    let _ = TRACER.set(tracer);
}

/// Whether traces go out.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// From now on every call begins a trace of its own, whatever its caller sends.
pub fn leave_callers() {
    JOINS_CALLERS.store(false, Ordering::Relaxed);
}

/// Whether a call belongs to the trace that its caller names.
pub fn joins_callers() -> bool {
    JOINS_CALLERS.load(Ordering::Relaxed)
}

/// Lets a call's span belong to its caller's trace.
pub fn join_caller(span: &Span, headers: &HeaderMap) {
    if is_on() {
        let context = TraceContextPropagator::new().extract(&Headers(headers));
        // It fails for a span that the log's level hides, which has no trace either.
        let _ = span.set_parent(context);
    }
}

/// Describes a call to its span, and how it ended. `method` is one that the service knows,
/// without a slash in front. Only the service's own faults are errors of a server's span.
pub fn end_call(
    span: &Span,
    method: Option<&'static str>,
    code: i32,
    name: &'static str,
    is_fault: bool,
) {
    if !is_on() {
        return;
    }
    // All at once: each way to the span costs more than what is told there.
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
    if is_fault {
        span.set_status(Status::error(name));
    }
}

/// The span of a statement, below the operation that runs it; it ends as it is dropped. The log
/// knows nothing of it, which has warnings and the echo instead.
pub fn statement(
    name: &'static str,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Option<SdkSpan> {
    let tracer = TRACER.get()?;
    let around = Span::current().context();
    // What no call has asked, such as a look at a node, is part of no trace.
    if !around.span().span_context().is_sampled() {
        return None;
    }
    let builder = tracer.span_builder(name).with_kind(SpanKind::Client);
    let builder = builder.with_attributes(attributes());
    Some(builder.start_with_context(tracer, &around))
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

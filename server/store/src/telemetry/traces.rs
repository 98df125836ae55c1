//! The spans of operations and statements, by OpenTelemetry's semantic conventions for databases.
//!
//! If the process exports no traces, a span has only the fields that the log prints.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Sets the tracer that exports traces. The first call counts.
pub fn set_on(tracer: SdkTracer) {
    // There is one tracer in the process.
    let _ = TRACER.set(tracer);
}

/// Whether the process exports traces.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Starts the span of a statement, a child of the operation's span. Dropping it ends it. The span
/// doesn't appear in the log, which has its own lines for statements.
pub(crate) fn statement(
    name: &'static str,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Option<SdkSpan> {
    let tracer = TRACER.get()?;
    let around = Span::current().context();
    // Statements outside of calls, such as probes, belong to no trace.
    if !around.span().span_context().is_sampled() {
        return None;
    }
    let builder = tracer.span_builder(name).with_kind(SpanKind::Client);
    let builder = builder.with_attributes(attributes());
    Some(builder.start_with_context(tracer, &around))
}

/// The span of an operation: its statements and its log lines belong to it.
pub fn operation(name: &'static str) -> Span {
    tracing::info_span!("operation", otel.name = named(name), operation = name)
}

/// The name of a span for the export of traces; `None` without an export.
pub fn named(name: &str) -> Option<&str> {
    is_on().then_some(name)
}

//! The spans of operations and statements, as OpenTelemetry's semantic conventions for databases
//! name and describe them.
//!
//! Where no traces go out, a span has what the log says of it and nothing more.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// From now on traces go out, by this tracer.
pub fn set_on(tracer: SdkTracer) {
    // There is one for the whole process.
    let _ = TRACER.set(tracer);
}

/// Whether traces go out.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// The span of a statement, below the operation that runs it; it ends as it is dropped. The log
/// knows nothing of it, which has warnings and the echo instead.
pub(crate) fn statement(
    name: &'static str,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Option<SdkSpan> {
    let tracer = TRACER.get()?;
    let around = Span::current().context();
    // Statements outside calls, such as probes, are part of no trace.
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

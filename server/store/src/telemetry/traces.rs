//! The spans of operations and statements, by OpenTelemetry's semantic conventions for databases.
//!
//! If the process exports no traces, a span has only the fields that the log prints. If the log can
//! read these fields without spans, there are none: a span costs several microseconds of a call.

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use opentelemetry::{
    KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use tokio::task_local;
use tracing::{Instrument, Span};
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

/// Whether calls and operations have spans.
static SPANS: AtomicBool = AtomicBool::new(true);

task_local! {
    /// The call and the operation that the current task works for.
    static AROUND: Around;
}

/// What the log's lines tell of the call that they belong to.
#[derive(Debug)]
pub struct CallFields {
    /// The path of its method.
    pub method: Cow<'static, str>,
    /// Its request id.
    pub request_id: Arc<str>,
    /// The trace id of its caller; `None` if it sent none.
    pub trace_id: Option<String>,
}

/// A call and an operation in it.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The call; `None` outside of calls.
    pub call: Option<Arc<CallFields>>,
    /// The operation's name; `None` outside of operations.
    pub operation: Option<&'static str>,
}

impl Around {
    /// The current one.
    pub fn current() -> Self {
        AROUND.try_with(Self::clone).unwrap_or_default()
    }

    /// Reads the current one. `None` if there is none.
    pub fn read<T>(read: impl FnOnce(&Self) -> T) -> Option<T> {
        AROUND.try_with(read).ok()
    }

    /// Runs a future in it, and in a span.
    pub fn scope<F: Future>(self, span: Span, future: F) -> impl Future<Output = F::Output> {
        AROUND.scope(self, future.instrument(span))
    }

    /// Runs a function in it.
    pub fn enter<T>(self, function: impl FnOnce() -> T) -> T {
        AROUND.sync_scope(self, function)
    }
}

/// Sets whether calls and operations have spans: the log for people and the export of traces need
/// them. Default true.
pub fn set_spans(spans: bool) {
    SPANS.store(spans, Ordering::Relaxed);
}

/// Whether calls and operations have spans.
pub fn has_spans() -> bool {
    SPANS.load(Ordering::Relaxed)
}

/// Runs a future as an operation of this name, to which its statements and its log lines belong.
/// Without a name it belongs to what it is called in.
pub fn in_operation<F: Future>(
    name: impl Into<Option<&'static str>>,
    future: F,
) -> impl Future<Output = F::Output> {
    let name = name.into();
    let span = name.filter(|_| has_spans()).map_or_else(Span::none, operation);
    let around = Around::current();
    let operation = name.or(around.operation);
    Around { operation, ..around }.scope(span, future)
}

/// Runs a future, which may be a task of its own, in the current call and operation.
pub fn in_current<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Around::current().scope(Span::current(), future)
}

/// The span of an operation.
fn operation(name: &'static str) -> Span {
    tracing::info_span!("operation", otel.name = named(name), operation = name)
}

/// The name of a span for the export of traces; `None` without an export.
pub fn named(name: &str) -> Option<&str> {
    is_on().then_some(name)
}

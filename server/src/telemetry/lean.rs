//! Removes redundant attributes from spans before they are exported: each attribute costs some
//! microseconds on its way to the collector.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

/// Fields of the log whose value a span has as its name, its trace or an attribute by the
/// conventions.
const TOLD_TWICE: [&str; 3] = ["method", "operation", "trace_id"];

/// An exporter that removes redundant attributes.
#[derive(Debug)]
pub(super) struct Lean<P>(pub P);

impl<P: SpanProcessor> SpanProcessor for Lean<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        // An unknown method has no name but its path.
        let named = span.attributes.iter().any(|it| it.key.as_str() == "rpc.method");
        let twice = |key: &str| TOLD_TWICE.contains(&key) && (named || key != "method");
        span.attributes.retain(|attribute| !twice(attribute.key.as_str()));
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

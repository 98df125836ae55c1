//! Exports traces and metrics by OTLP over gRPC where the standard variables name a collector. The
//! exporter has a runtime of its own, so that an unreachable collector delays no call.

use std::{sync::mpsc, time::Duration};

use bookstore_store::telemetry::traces;
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::SdkMeterProvider,
    trace::{BatchSpanProcessor, SdkTracerProvider},
};
use tokio::runtime::{Builder, Runtime};

use super::{
    error::TelemetryError, exposition, lean::Lean, logging_exporter::LoggingExporter, variables,
    writer,
};

/// The timeout of the last export at shutdown.
const FLUSH: Duration = Duration::from_millis(1500);

/// How long the end of the log may take.
const LOG_FLUSH: Duration = Duration::from_millis(500);

/// The providers and their runtime.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    runtime: Option<Runtime>,
    /// Variables that are ignored.
    pub(super) warnings: Vec<String>,
}

impl Telemetry {
    /// Starts the exporters that the environment configures.
    pub(super) fn start() -> Result<Self, TelemetryError> {
        let collectors = variables::read().map_err(TelemetryError::Variables)?;
        if collectors.is_disabled {
            return Ok(Self::default());
        }
        let sends = collectors.traces.is_some() || collectors.metrics.is_some();
        let runtime = match sends {
            true => {
                let mut builder = Builder::new_multi_thread();
                Some(builder.worker_threads(1).thread_name("otlp").enable_all().build()?)
            }
            false => None,
        };
        // A channel belongs to the runtime on which it was made.
        let entered = runtime.as_ref().map(Runtime::enter);
        let mut metrics = SdkMeterProvider::builder().with_resource(resource());
        if let Some(reader) = exposition::reader() {
            metrics = metrics.with_reader(reader);
        }
        if let Some(url) = collectors.metrics {
            let exporter = MetricExporter::builder().with_tonic().with_endpoint(url).build()?;
            metrics = metrics.with_periodic_exporter(exporter);
        }
        let metrics = metrics.build();
        global::set_meter_provider(metrics.clone());
        let traces = match collectors.traces {
            Some(url) => {
                let exporter = SpanExporter::builder().with_tonic().with_endpoint(url).build()?;
                let provider = SdkTracerProvider::builder().with_resource(resource());
                let batches = BatchSpanProcessor::builder(LoggingExporter::new(exporter)).build();
                let traces = provider.with_span_processor(Lean(batches)).build();
                traces::set_on(traces.tracer("bookstore"));
                Some(traces)
            }
            None => None,
        };
        drop(entered);
        Ok(Self { traces, metrics: Some(metrics), runtime, warnings: collectors.warnings })
    }

    pub(super) fn tracer(&self) -> Option<opentelemetry_sdk::trace::Tracer> {
        self.traces.as_ref().map(|traces| traces.tracer("bookstore"))
    }

    /// Exports what is left, as far as the collector accepts it in time, and writes the rest of the
    /// log, as far as its reader takes it.
    pub fn finish(self) {
        self.export_rest();
        writer::flush(LOG_FLUSH);
    }

    fn export_rest(self) {
        let Some(runtime) = self.runtime else { return };
        let (done, wait) = mpsc::channel();
        let metrics_done = done.clone();
        // In threads, since a provider's shutdown has no timeout of its own.
        std::thread::spawn(move || {
            let _ = self.traces.map(|traces| traces.shutdown_with_timeout(FLUSH));
            let _ = done.send(());
        });
        std::thread::spawn(move || {
            let _ = self.metrics.map(|metrics| metrics.shutdown_with_timeout(FLUSH));
            let _ = metrics_done.send(());
        });
        let end = std::time::Instant::now() + FLUSH;
        for _ in 0..2 {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let _ = wait.recv_timeout(left);
        }
        runtime.shutdown_background();
    }
}

/// The resource: from the standard variables, otherwise with the program's name as `service.name`.
fn resource() -> Resource {
    let resource = Resource::builder().build();
    let named = resource.get(&"service.name".into()).map(|name| name.to_string());
    match named {
        Some(name) if !name.starts_with("unknown_service") => resource,
        _ => Resource::builder().with_service_name("bookstore").build(),
    }
}

//! Logs when the export of traces begins to fail, and when it works again. Each change is logged
//! once, since spans are exported by the thousand.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

/// Exports spans and logs a change between success and failure.
#[derive(Debug)]
pub(super) struct LoggingExporter<E> {
    exporter: E,
    fails: AtomicBool,
}

impl<E> LoggingExporter<E> {
    pub(super) fn new(exporter: E) -> Self {
        Self { exporter, fails: AtomicBool::new(false) }
    }
}

impl<E: SpanExporter> SpanExporter for LoggingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let failed = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed => {
                tracing::warn!(%error, "the collector takes no traces, they are dropped");
            }
            Ok(()) if failed => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

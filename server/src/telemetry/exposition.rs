//! The metrics in Prometheus's text format.

use std::sync::OnceLock;

use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

use super::process::ProcessCollector;

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Collects the metrics for each scrape.
pub(super) fn reader() -> Option<PrometheusExporter> {
    let registry = REGISTRY.get_or_init(registry).clone();
    opentelemetry_prometheus::exporter().with_registry(registry).build().ok()
}

/// A registry with the metrics of the process.
fn registry() -> Registry {
    let registry = Registry::new();
    // It fails only if one of the names is registered twice.
    if let Err(error) = registry.register(Box::new(ProcessCollector::new())) {
        tracing::warn!(%error, "the metrics of the process are missing");
    }
    registry
}

/// All metrics as they are now; empty where telemetry is turned off.
pub fn prometheus() -> String {
    let families = REGISTRY.get().map(Registry::gather).unwrap_or_default();
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

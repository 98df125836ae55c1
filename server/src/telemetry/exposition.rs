//! The metrics in Prometheus's text format.

use std::sync::OnceLock;

use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Collects the metrics for each scrape.
pub(super) fn reader() -> Option<PrometheusExporter> {
    let registry = REGISTRY.get_or_init(Registry::new).clone();
    opentelemetry_prometheus::exporter().with_registry(registry).build().ok()
}

/// All metrics as they are now; empty where telemetry is turned off.
pub fn prometheus() -> String {
    let families = REGISTRY.get().map(Registry::gather).unwrap_or_default();
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

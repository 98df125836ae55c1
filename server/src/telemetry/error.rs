//! Why telemetry can't be started.

use std::io;

use tracing_subscriber::util::TryInitError;

/// Why the log or telemetry can't be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is not one; [`crate::config`] refuses it before.
    #[error("log_level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Telemetry has been started before in this process.
    #[error(transparent)]
    Twice(#[from] TryInitError),
    /// Variables of OpenTelemetry that can't be obeyed, a line each.
    #[error("{0}")]
    Variables(String),
    /// What sends traces and metrics can't be made.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// There is no thread for it.
    #[error("telemetry: {0}")]
    Threads(#[from] io::Error),
}

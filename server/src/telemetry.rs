//! The log of the program, on standard error: short lines at a terminal, otherwise one flat JSON
//! object a line for log systems.

mod error;
mod exposition;
mod json;
mod lean;
mod logging_exporter;
mod otlp;
mod panics;
mod process;
mod propagators;
mod variables;
mod writer;

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

pub use error::TelemetryError;
pub use exposition::prometheus;
pub use otlp::Telemetry;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt::{self, MakeWriter, format::Writer, time::FormatTime},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};
pub use writer::flush;

use crate::config::{Log, LogFormat, log_level};

/// The target of every event about a statement: its echo at INFO, a slow one at WARN.
pub const SQL_TARGET: &str = "bookstore::sql";

/// The target of every event about who may do what. No level silences them.
pub const AUDIT_TARGET: &str = "audit";

/// What the targets of this project begin with.
const OUR_TARGETS: &str = "bookstore";

/// The level of the log, to change it while the program runs.
type LevelHandle = reload::Handle<EnvFilter, Registry>;
static LEVEL: OnceLock<LevelHandle> = OnceLock::new();

/// Starts the log of the whole process, and what sends traces and metrics. With `echo`, the echo of statements is
/// shown whatever the level.
///
/// # Errors
/// When the level is wrong or the log of this process has been started before.
pub fn start(log: &Log, echo: bool) -> Result<Telemetry, TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let people = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let telemetry = Telemetry::start()?;
    let writer = writer::start()?;
    let (lines, level) = subscriber(&log.level, echo, people, terminal, writer)?;
    panics::report(people);
    bookstore_store::telemetry::traces::set_spans(people || telemetry.tracer().is_some());
    match telemetry.tracer() {
        None => lines.try_init()?,
        Some(tracer) => {
            let ours = filter_fn(|metadata| {
                metadata.is_span() && metadata.target().starts_with(OUR_TARGETS)
            });
            let spans = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                // It would cost time at every poll of a future, and the program doesn't use the
                // current context.
                .with_context_activation(false);
            lines.with(spans.with_filter(ours.with_max_level_hint(Level::DEBUG))).try_init()?;
        }
    }
    // A second start was refused above.
    let _ = LEVEL.set(level);
    propagators::apply();
    for warning in &telemetry.warnings {
        tracing::warn!("{warning}");
    }
    Ok(telemetry)
}

/// Checks the variables of OpenTelemetry.
///
/// # Errors
/// Those that can't be obeyed.
pub fn check() -> Result<(), TelemetryError> {
    variables::read().map(drop).map_err(TelemetryError::Variables)
}

/// The directives in force, in the form of `log_level`.
pub fn level() -> String {
    let level = LEVEL.get().and_then(|level| level.with_current(EnvFilter::to_string).ok());
    level.unwrap_or_default()
}

/// Changes the log's level from now on.
///
/// # Errors
/// What the level must be.
pub fn set_level(text: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(log_level(text)?).map_err(|error| error.to_string())?;
    let level = LEVEL.get().ok_or("the log hasn't been started")?;
    level.reload(filter).map_err(|error| error.to_string())
}

fn subscriber<W>(
    level: &str,
    echo: bool,
    people: bool,
    terminal: bool,
    writer: W,
) -> Result<
    (impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + use<W>, LevelHandle),
    TelemetryError,
>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Both filters bypass the level instead of adding directives to it, since directives could also
    // lower a level. The project's spans pass, so that every warning has its request id.
    let passes = move |metadata: &Metadata<'_>| {
        *metadata.level() <= Level::INFO
            && (metadata.is_span() && metadata.target().starts_with(OUR_TARGETS)
                || echo && metadata.target() == SQL_TARGET
                || metadata.target() == AUDIT_TARGET)
    };
    let (level, handle) = reload::Layer::new(EnvFilter::try_new(level)?);
    let filter = level
        .and(filter_fn(|metadata| !is_reported_elsewhere(metadata)))
        .or(filter_fn(passes).with_max_level_hint(Level::INFO));
    let lines = if people {
        let lines = fmt::layer().with_writer(writer);
        // With colours, the layer itself honours NO_COLOR.
        let lines = if terminal { lines } else { lines.with_ansi(false) };
        lines.compact().with_target(false).with_timer(LocalTime).with_filter(filter).boxed()
    } else {
        json::Lines(writer).with_filter(filter).boxed()
    };
    Ok((Registry::default().with(lines), handle))
}

/// Whether another event reports the same: PostgreSQL's notices during a migration, for which the
/// program logs one line.
fn is_reported_elsewhere(metadata: &Metadata<'_>) -> bool {
    *metadata.level() > Level::WARN && metadata.target() == "sqlx::postgres::notice"
}

/// The local time of day, to the millisecond.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", chrono::Local::now().format("%H:%M:%S%.3f"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: &str, echo: bool, people: bool, speak: impl FnOnce()) -> Vec<String> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let made = subscriber(level, echo, people, false, move || writer.clone());
        let (subscriber, _) = made.unwrap();
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = std::mem::take(&mut *buffer.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_json_line_is_flat_and_carries_the_call() {
        let lines = lines("info", false, false, || {
            let call = tracing::info_span!("call", request_id = "r-1", method = "Get", code = 5);
            let _call = call.enter();
            let _operation = tracing::info_span!("operation", name = "get_book").entered();
            tracing::warn!(target: SQL_TARGET, took_ms = 120_u64, code = "late", "slow \"query\"\n");
        });
        assert_eq!(lines.len(), 1);
        let line: serde_json::Map<String, Value> = serde_json::from_str(&lines[0]).unwrap();
        let expected = serde_json::json!({
            "level": "WARN", "target": SQL_TARGET, "message": "slow \"query\"\n",
            "took_ms": 120, "request_id": "r-1", "method": "Get", "name": "get_book",
            // The event's fields win over those of its spans.
            "code": "late",
        });
        let mut rest = line.clone();
        let timestamp = rest.remove("timestamp").unwrap();
        assert_eq!(Value::Object(rest), expected);
        chrono::DateTime::parse_from_rfc3339(timestamp.as_str().unwrap()).unwrap();
        assert!(lines[0].starts_with("{\"timestamp\":"), "{}", lines[0]);
    }

    #[test]
    fn a_line_has_later_recorded_fields_and_the_nearest_value() {
        let lines = lines("info", false, false, || {
            let call = tracing::info_span!(
                "call",
                otel.name = "GetBook",
                level = "low",
                message = "span",
                node = tracing::field::Empty,
                attempt = 1
            );
            let _call = call.enter();
            let _inner = tracing::info_span!("operation", attempt = 2, ratio = 0.5).entered();
            call.record("node", "db\"1");
            tracing::info!(target: "bookstore::x", flag = true, "done");
        });
        let line: serde_json::Map<String, Value> = serde_json::from_str(&lines[0]).unwrap();
        let mut rest = line;
        rest.remove("timestamp").unwrap();
        let expected = serde_json::json!({
            "level": "INFO", "target": "bookstore::x", "message": "done", "flag": true,
            "_level": "low", "node": "db\"1", "attempt": 2, "ratio": 0.5,
        });
        assert_eq!(Value::Object(rest), expected);
    }

    #[test]
    fn a_line_for_people_has_no_target_and_no_colour_in_a_file() {
        let lines = lines("info", false, true, || {
            let _call = tracing::info_span!("call", request_id = "r-1").entered();
            tracing::info!(rows = 3, "done");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("INFO") && lines[0].contains("done rows=3"), "{}", lines[0]);
        assert!(lines[0].contains("r-1"), "{}", lines[0]);
        assert!(!lines[0].contains("telemetry") && !lines[0].contains('\x1b'), "{}", lines[0]);
    }

    #[test]
    fn the_echo_passes_every_level_and_lowers_none() {
        let speak = || {
            tracing::debug!(target: SQL_TARGET, "plan");
            tracing::info!(target: SQL_TARGET, "echo");
            tracing::warn!(target: SQL_TARGET, "slow");
            tracing::info!(target: "other", "other");
        };
        let seen = |level: &str, echo: bool| {
            let lines = lines(level, echo, false, speak);
            let shown = |word: &&str| {
                let message = format!("\"message\":\"{word}\"");
                lines.iter().any(|line| line.contains(&message))
            };
            ["plan", "echo", "slow", "other"].into_iter().filter(shown).collect::<Vec<_>>()
        };
        assert_eq!(seen("error", false), [""; 0]);
        assert_eq!(seen("error", true), ["echo", "slow"]);
        assert_eq!(seen("warn", false), ["slow"]);
        assert_eq!(seen("warn", true), ["echo", "slow"]);
        assert_eq!(seen("debug", true), ["plan", "echo", "slow", "other"]);
        assert_eq!(seen("bookstore::sql=off,info", true), ["echo", "slow", "other"]);
    }

    #[test]
    fn a_line_names_its_call_also_at_a_level_that_hides_spans() {
        let lines = lines("error", false, false, || {
            let _call = tracing::info_span!(target: "bookstore::call", "call", request_id = "r-1")
                .entered();
            let _foreign = tracing::info_span!(target: "other", "foreign", secret = "s").entered();
            tracing::error!(target: "other", "broken");
        });
        assert!(lines[0].contains("\"request_id\":\"r-1\"") && !lines[0].contains("secret"));
    }

    #[test]
    fn a_wrong_level_is_an_error() {
        assert!(subscriber("a=b=c", false, false, false, io::sink).is_err());
    }
}

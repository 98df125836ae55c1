//! An event as one flat JSON object: when, level, target and message first, then
//! the fields of the event and of the spans around it, the nearer one winning.

use std::fmt::{self, Debug};

use bookstore_store::telemetry::traces;
use opentelemetry::{Context, trace::TraceContextExt};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Names that the line itself uses; a field of that name gets a `_` in front.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];

/// How a span's fields are kept for the lines within it: as the members of a JSON object, with
/// commas between them. What a span is called in its trace is no field of the log.
pub(super) struct Members;

impl<'w> FormatFields<'w> for Members {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut kept = Fields::default();
        fields.record(&mut kept);
        let mut between = "";
        for (name, value) in kept.0 {
            write!(writer, "{between}{}:{value}", Value::from(name))?;
            between = ",";
        }
        Ok(())
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        if !current.fields.is_empty() {
            current.fields.push(',');
        }
        self.format_fields(current.as_writer(), fields)
    }
}

/// The format; the fields of spans must be kept as [`Members`].
pub(super) struct Flat;

impl<S> FormatEvent<S, Members> for Flat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Members>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let kept = extensions.get::<FormattedFields<Members>>();
            if let Some(Ok(Value::Object(kept))) =
                kept.map(|kept| serde_json::from_str(&format!("{{{}}}", kept.fields)))
            {
                kept.into_iter().for_each(|(name, value)| fields.insert(&name, value));
            }
        }
        if let Some(traced) = traced(context, event) {
            let span = traced.span();
            let span = span.span_context();
            fields.insert("trace_id", Value::from(span.trace_id().to_string()));
            fields.insert("span_id", Value::from(span.span_id().to_string()));
        }
        // A span's "message" is no message of the event.
        fields.0.remove("message");
        event.record(&mut fields);

        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        write!(
            writer,
            "{{\"timestamp\":\"{timestamp}\",\"level\":\"{}\",\"target\":{},\"message\":{}",
            metadata.level(),
            Value::from(metadata.target()),
            fields.0.remove("message").unwrap_or_else(|| Value::from("")),
        )?;
        for (name, value) in fields.0 {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

/// The innermost span around an event that goes out. What sends spans says things while it holds
/// one, and isn't asked for it then.
fn traced<S>(context: &FmtContext<'_, S, Members>, event: &Event<'_>) -> Option<Context>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if !traces::is_on() || event.metadata().target().starts_with("opentelemetry") {
        return None;
    }
    let around = context.event_scope()?.find_map(|span| {
        tracing::dispatcher::get_default(|dispatch| {
            tracing_opentelemetry::get_otel_context(&span.id(), dispatch)
        })
    })?;
    around.span().span_context().is_valid().then_some(around)
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, name: &str, value: Value) {
        if name.starts_with("otel.") {
            return;
        }
        let prefix = if RESERVED.contains(&name) { "_" } else { "" };
        self.0.insert(format!("{prefix}{name}"), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field.name(), Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.insert(field.name(), Value::from(format!("{value:?}")));
    }
}

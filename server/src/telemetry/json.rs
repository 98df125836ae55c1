//! The log as JSON: one flat object a line. Time, level, target and message come first, then
//! the fields of the event and of the spans around it. The nearer field of two of one name wins.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Debug, Write as _},
    io::Write as _,
};

use bookstore_store::telemetry::traces;
use opentelemetry::{Context as TraceContext, trace::TraceContextExt};
use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::{
        MakeWriter,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::Context,
    registry::LookupSpan,
};

/// Names that the line itself uses; a field of that name gets a `_` in front.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];

/// Writes every event as a line. A span keeps its fields as values for the events within it.
pub(super) struct Lines<W>(pub(super) W);

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = EventFields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<EventFields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Ok(line) = line(event, &context) {
            // An error of the log itself can't be reported.
            let _ = self.0.make_writer_for(event.metadata()).write_all(line.as_bytes());
        }
    }
}

/// The line of an event, with its end.
fn line<S>(event: &Event<'_>, context: &Context<'_, S>) -> Result<String, fmt::Error>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut fields = EventFields::default();
    for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
        if let Some(own) = span.extensions().get::<EventFields>() {
            let own = own.0.iter().map(|(name, value)| (name.clone(), value.clone()));
            fields.0.extend(own);
        }
    }
    if let Some(traced) = traced(event, context) {
        let span = traced.span();
        let span = span.span_context();
        fields.insert("trace_id", Value::from(span.trace_id().to_string()));
        fields.insert("span_id", Value::from(span.span_id().to_string()));
    }
    // A span's "message" isn't the event's message.
    fields.0.remove("message");
    event.record(&mut fields);

    let mut line = String::from("{\"timestamp\":\"");
    SystemTime.format_time(&mut Writer::new(&mut line))?;
    let metadata = event.metadata();
    write!(
        line,
        "\",\"level\":\"{}\",\"target\":{},\"message\":{}",
        metadata.level(),
        Value::from(metadata.target()),
        fields.0.remove("message").unwrap_or_else(|| Value::from("")),
    )?;
    for (name, value) in fields.0 {
        write!(line, ",{}:{value}", Value::from(name))?;
    }
    line.push_str("}\n");
    Ok(line)
}

/// The trace context of the innermost span around an event that is exported. The exporter logs
/// while it holds a span's lock, so the lookup for the exporter's own events would deadlock.
fn traced<S>(event: &Event<'_>, context: &Context<'_, S>) -> Option<TraceContext>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if !traces::is_on() || event.metadata().target().starts_with("opentelemetry") {
        return None;
    }
    let around = context.event_scope(event)?.find_map(|span| {
        tracing::dispatcher::get_default(|dispatch| {
            tracing_opentelemetry::get_otel_context(&span.id(), dispatch)
        })
    })?;
    around.span().span_context().is_valid().then_some(around)
}

/// The fields of a span or of a line, by their names.
#[derive(Default)]
struct EventFields(BTreeMap<Cow<'static, str>, Value>);

impl EventFields {
    fn insert(&mut self, name: &'static str, value: Value) {
        // The `otel.` fields are for traces only.
        if name.starts_with("otel.") {
            return;
        }
        let name = match RESERVED.contains(&name) {
            true => Cow::Owned(format!("_{name}")),
            false => Cow::Borrowed(name),
        };
        self.0.insert(name, value);
    }
}

impl Visit for EventFields {
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

//! The log as JSON: one flat object a line. Time, level, target and message come first, then
//! the fields of the event and of the spans around it. The nearer field of two of one name wins.
//!
//! Each value is encoded once: those of a span as the span begins, so that a line copies bytes.

use std::{cell::Cell, fmt::Debug, io::Write as _, ops::Range, time::SystemTime};

use bookstore_store::telemetry::traces::{self, Around};
use chrono::{DateTime, Utc};
use opentelemetry::{Context as TraceContext, trace::TraceContextExt};
use serde::{Serialize, Serializer};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

/// Names that the line itself uses; a field of that name gets a `_` in front.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];

/// The field that holds an event's text.
const MESSAGE: &str = "message";

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
        // Taken, not borrowed: a value that logs while it is formatted begins a line of its own.
        let mut buffers = BUFFERS.take();
        buffers.write(event, &context);
        // An error of the log itself can't be reported.
        let _ = self.0.make_writer_for(event.metadata()).write_all(&buffers.line);
        BUFFERS.set(buffers);
    }
}

thread_local! {
    /// Kept from line to line, so that a line allocates nothing.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// A line above this many bytes leaves its buffers behind.
const KEPT: usize = 16 * 1024;

/// What a line is written with.
#[derive(Default)]
struct Buffers {
    line: Vec<u8>,
    /// The event's own fields.
    fields: EventFields,
    /// The names that the line has.
    written: Vec<&'static str>,
    second: Second,
}

/// The second of the last line, as text: many lines are of the same one.
#[derive(Default)]
struct Second {
    number: i64,
    text: String,
}

impl Second {
    /// Writes the current time, as in RFC 3339, to the microsecond.
    fn write(&mut self, line: &mut Vec<u8>) {
        let now = DateTime::<Utc>::from(SystemTime::now());
        if self.number != now.timestamp() || self.text.is_empty() {
            self.number = now.timestamp();
            self.text = now.format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        line.extend_from_slice(self.text.as_bytes());
        let mut micros = now.timestamp_subsec_micros();
        let mut digits = *b"000000Z";
        for digit in digits[..6].iter_mut().rev() {
            *digit += u8::try_from(micros % 10).unwrap_or_default();
            micros /= 10;
        }
        line.extend_from_slice(&digits);
    }
}

impl Buffers {
    /// Writes the line of an event, with its end.
    fn write<S>(&mut self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if self.line.capacity() > KEPT || self.fields.json.capacity() > KEPT {
            *self = Self::default();
        }
        let Self { line, fields, written, second } = self;
        line.clear();
        written.clear();
        fields.clear();
        event.record(fields);
        let metadata = event.metadata();
        line.extend_from_slice(b"{\"timestamp\":\"");
        second.write(line);
        line.extend_from_slice(b"\",\"level\":\"");
        line.extend_from_slice(metadata.level().as_str().as_bytes());
        line.extend_from_slice(b"\",\"target\":");
        encode(line, metadata.target());
        line.extend_from_slice(b",\"message\":");
        match fields.get(MESSAGE) {
            Some(message) => line.extend_from_slice(message),
            None => line.extend_from_slice(b"\"\""),
        }
        // A span's "message" isn't the event's message.
        written.push(MESSAGE);
        fields.write(line, written);
        if let Some(traced) = traced(event, context) {
            let span = traced.span();
            let span = span.span_context();
            fields.clear();
            fields.put("trace_id", &span.trace_id().to_string());
            fields.put("span_id", &span.span_id().to_string());
            fields.write(line, written);
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(own) = span.extensions().get::<EventFields>() {
                own.write(line, written);
            }
        }
        // Those of calls without spans.
        if Around::read(|around| fields.put_around(around)).is_some() {
            fields.write(line, written);
        }
        line.extend_from_slice(b"}\n");
    }
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

/// The fields of a span or of an event, encoded.
#[derive(Default)]
struct EventFields {
    /// The names, and where the value of each is.
    names: Vec<(&'static str, Range<usize>)>,
    json: Vec<u8>,
}

impl EventFields {
    fn clear(&mut self) {
        self.names.clear();
        self.json.clear();
    }

    fn put_around(&mut self, around: &Around) {
        self.clear();
        if let Some(call) = &around.call {
            self.put("method", &*call.method);
            self.put("request_id", &*call.request_id);
            if let Some(trace_id) = &call.trace_id {
                self.put("trace_id", trace_id);
            }
        }
        if let Some(operation) = around.operation {
            self.put("operation", operation);
        }
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        // The `otel.` fields are for traces only.
        if name.starts_with("otel.") {
            return;
        }
        let begin = self.json.len();
        encode(&mut self.json, value);
        self.names.push((name, begin..self.json.len()));
    }

    /// The value that was recorded last.
    fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, range) = self.names.iter().rfind(|(known, _)| *known == name)?;
        self.json.get(range.clone())
    }

    /// Writes the fields that the line doesn't have yet. Of two values of one name the later counts.
    fn write(&self, line: &mut Vec<u8>, written: &mut Vec<&'static str>) {
        for (name, range) in self.names.iter().rev() {
            if written.contains(name) {
                continue;
            }
            written.push(name);
            line.extend_from_slice(if RESERVED.contains(name) { b",\"_" } else { b",\"" });
            // Names are written in the program's text; no quotes occur in them.
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\":");
            line.extend_from_slice(self.json.get(range.clone()).unwrap_or(b"null"));
        }
    }
}

/// Appends a value as JSON.
fn encode<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    // Neither the Vec nor a number or a text can fail.
    let _ = serde_json::to_writer(json, value);
}

/// A value by its `Debug` text, without a String in between.
struct ByDebug<'a>(&'a dyn Debug);

impl Serialize for ByDebug<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), &ByDebug(value));
    }
}

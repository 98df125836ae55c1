//! Reads a call's metadata, logs the call, and writes the response's metadata.

use std::{
    borrow::Cow,
    cell::Cell,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use bookstore_store::{
    Position,
    telemetry::traces::{Around, CallFields, has_spans, named},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use http_body::Frame;
use tonic::{Code, Status};
use tracing::Span;

use super::shared::{BESIDE, LayerContext, is_ours, peer, trailers};
use crate::{
    rpc::{
        context::{AnswerCell, RequestContext},
        metadata,
        metadata_error::MetadataError,
        method::{CallMeter, Method},
        session::SessionCell,
        status,
    },
    traces,
};

static SERVED_BY: HeaderName = HeaderName::from_static("served-by");
static ATTEMPTS: HeaderName = HeaderName::from_static("attempts");
static IDEMPOTENT_REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The layer.
pub async fn observe<F: Future<Output = Response>>(
    shared: &LayerContext,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let path = request.uri().path();
    let ours = is_ours(path);
    let (request_id, refused) = match metadata::request_id(request.headers()) {
        Ok(id) => (id, None),
        Err(error) => (metadata::new_request_id(), Some(error)),
    };
    let trace_id = match traces::joins_callers() {
        true => metadata::trace_id(request.headers()),
        false => None,
    };
    let method = shared.registry.at(path);
    let streams = method.is_some_and(|method| !method.unary);
    let known = method.map(|method| method.path);
    let known = known.or_else(|| BESIDE.iter().find(|beside| **beside == path).copied());
    let path = known.map_or_else(|| Cow::Owned(cut(path).to_owned()), Cow::Borrowed);
    let name = known.map(|path| path.trim_start_matches('/'));
    let fields = CallFields { method: path, request_id: request_id.clone(), trace_id };
    let span = match has_spans() {
        true => span(name, &fields),
        false => Span::none(),
    };
    if name.is_some() && fields.trace_id.is_some() {
        traces::join_caller(&span, request.headers());
    }
    let call = Some(Arc::new(fields));
    let around = Around { call, operation: None };
    let began = Instant::now();
    let answer = AnswerCell::default();
    let mut line = AccessLogLine {
        began,
        quiet: !ours,
        calls: method.map(|method| method.calls.clone()),
        name,
        code: None,
        span: span.clone(),
        around: around.clone(),
        answer: answer.clone(),
    };

    let context = context(shared, &request, &request_id, &answer, refused, method);
    let mut response = match context {
        Err(error) if ours => status::metadata(&error).into_http(),
        context => {
            if let Ok(context) = context {
                request.extensions_mut().insert(context);
            }
            // Pinned here: to move it around costs thousands of instructions.
            let run = pin!(AssertUnwindSafe(next(request)).catch_unwind());
            around
                .scope(span, run)
                .await
                .unwrap_or_else(|_| status::internal(&"a panic", &request_id).into_http())
        }
    };
    if ours {
        write_out(shared, response.headers_mut(), &request_id, &answer, line.began);
    }
    if streams && !response.headers().contains_key("grpc-status") {
        let streamed = |body| Streamed { body: Some(body), line: Some(line), request_id };
        return response.map(|body| Body::new(streamed(body)));
    }
    line.code = Some(code(response.headers()));
    response
}

fn context(
    shared: &LayerContext,
    request: &Request,
    request_id: &Arc<str>,
    answer: &AnswerCell,
    refused: Option<MetadataError>,
    method: Option<&Method>,
) -> Result<RequestContext, MetadataError> {
    if let Some(error) = refused {
        return Err(error);
    }
    if shared.access.is_none() && request.headers().contains_key(AUTHORIZATION) {
        return Err(MetadataError::NotSupported("authorization"));
    }
    let options = metadata::request_options(request.headers())?;
    Ok(RequestContext {
        method: method.map_or("", |method| method.path),
        request_id: request_id.clone(),
        deadline: options.deadline,
        consistency: options.consistency.unwrap_or(shared.consistency),
        consistency_token: options.consistency_token,
        session: request.extensions().get::<SessionCell>().cloned().unwrap_or_default(),
        budget: shared.budget_of(request),
        principal: None,
        peer: peer(request),
        stream_access: None,
        control: None,
        idempotency: options.idempotency,
        validate_only: options.validate_only,
        repeated: options.previous_attempts > 0 && !method.is_some_and(|method| method.idempotent),
        field_mask: metadata::field_mask(request.headers(), method)?,
        answer: answer.clone(),
    })
}

/// The response's metadata: the request id, and what the call has learned.
fn write_out(
    shared: &LayerContext,
    headers: &mut HeaderMap,
    request_id: &str,
    answer: &AnswerCell,
    began: Instant,
) {
    let facts = answer.facts();
    let mut put = |key: &HeaderName, value: HeaderValue| drop(headers.insert(key.clone(), value));
    let text = |value: &str| HeaderValue::from_str(value).ok();
    if let Some(value) = text(request_id) {
        put(&metadata::REQUEST_ID, value);
    }
    match facts.node {
        Some(node) if facts.names_node && !node.is_primary => {
            if let Some(value) = text(&node.name) {
                put(&SERVED_BY, value);
            }
        }
        Some(node) => put(&SERVED_BY, HeaderValue::from_static(node.role())),
        None => {}
    }
    if let Some(attempts) = facts.attempts {
        put(&ATTEMPTS, attempts.into());
    }
    if let Some((position, key)) = facts.position.zip((shared.sealing_key)())
        && let Some(token) = token(&position, &key)
    {
        put(&metadata::CONSISTENCY_TOKEN, token);
    }
    if facts.replayed {
        put(&IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
    }
    let mut timing = Vec::with_capacity(40);
    if let Some(database) = facts.database {
        timing.extend_from_slice(b"db;dur=");
        write_milliseconds(&mut timing, database);
        timing.extend_from_slice(b", ");
    }
    timing.extend_from_slice(b"total;dur=");
    write_milliseconds(&mut timing, began.elapsed());
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(timing)) {
        put(&SERVER_TIMING, value);
    }
}

/// A sealed position as metadata. While nothing is written all calls have the same one, so the
/// thread keeps the last.
fn token(position: &Position, key: &[u8; 32]) -> Option<HeaderValue> {
    thread_local! {
        static LAST: Cell<Option<(Position, [u8; 32], HeaderValue)>> = const { Cell::new(None) };
    }
    let known = LAST.take().filter(|(of, with, _)| of == position && with == key);
    let token = match known {
        Some((_, _, token)) => token,
        None => HeaderValue::from_str(&position.seal(key)).ok()?,
    };
    LAST.set(Some((*position, *key, token.clone())));
    Some(token)
}

/// Writes a time as in the W3C's Server Timing: milliseconds, here to the microsecond.
fn write_milliseconds(text: &mut Vec<u8>, time: Duration) {
    let mut micros = time.as_micros();
    let (mut digits, mut at) = ([b'0'; 40], 40);
    // One digit before the point at least, and three behind it.
    while micros > 0 || at > 36 {
        at -= 1;
        digits[at] = b'0' + u8::try_from(micros % 10).unwrap_or_default();
        micros /= 10;
    }
    text.extend_from_slice(&digits[at..37]);
    text.push(b'.');
    text.extend_from_slice(&digits[37..]);
}

/// The span of a call, for the export of traces and for the log for people.
fn span(name: Option<&str>, fields: &CallFields) -> Span {
    tracing::info_span!(
        "call",
        otel.kind = named("server"),
        otel.name = named(name.unwrap_or("other")),
        method = &*fields.method,
        request_id = %fields.request_id,
        trace_id = fields.trace_id
    )
}

/// The code of a response: errors have it in their headers, and an answer that has begun is
/// a good one.
fn code(headers: &HeaderMap) -> Code {
    Status::from_header_map(headers).map_or(Code::Ok, |status| status.code())
}

/// The body of a call that streams: its line is logged at its end, and errors at the end have the
/// request id, as those at the beginning.
struct Streamed {
    /// None once it has panicked.
    body: Option<Body>,
    line: Option<AccessLogLine>,
    request_id: Arc<str>,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // A stream does its work in `poll_frame`.
        let line = self.line.as_ref();
        let (span, around) = line
            .map(|line| (line.span.clone(), line.around.clone()))
            .unwrap_or_else(|| (Span::none(), Around::default()));
        let _entered = span.enter();
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = AssertUnwindSafe(|| around.enter(|| Pin::new(body).poll_frame(context)));
        let mut frame = match std::panic::catch_unwind(polled) {
            Ok(polled) => ready!(polled),
            Err(_) => {
                self.body = None;
                Some(Ok(Frame::trailers(trailers(status::internal(&"a panic", &self.request_id)))))
            }
        };
        if let Some(trailers) = frame.as_mut().and_then(|it| it.as_mut().ok()?.trailers_mut()) {
            if let Ok(request_id) = HeaderValue::from_str(&self.request_id) {
                trailers.insert("request-id", request_id);
            }
            if let Some(mut line) = self.line.take() {
                line.code = Some(code(trailers));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}

/// The call's line in the log. If it is dropped without a code, the caller has cancelled the call.
struct AccessLogLine {
    began: Instant,
    /// Health checks and reflection are logged at DEBUG, since there are many of them.
    quiet: bool,
    /// Of the service's own methods: what counts its calls.
    calls: Option<Arc<CallMeter>>,
    /// The name of the method, also of those of health and reflection.
    name: Option<&'static str>,
    code: Option<Code>,
    span: Span,
    around: Around,
    /// What the call has learned, such as the node that answered.
    answer: AnswerCell,
}

impl Drop for AccessLogLine {
    fn drop(&mut self) {
        let duration_ms = self.began.elapsed().as_secs_f64() * 1e3;
        let number = self.code.unwrap_or(Code::Cancelled);
        let code = name(number);
        if let Some(calls) = &self.calls {
            calls.record(duration_ms / 1e3, number, code);
        }
        traces::end_call(&self.span, self.name, i32::from(number), code, is_server_error(number));
        let _entered = self.span.enter();
        std::mem::take(&mut self.around).enter(|| {
            if self.quiet {
                tracing::debug!(code, duration_ms, "call");
            } else {
                // Callers learn only whether it was the primary.
                let (node, ids, replayed) = self.answer.logged();
                let (node, ids) = (node.as_deref(), ids.as_deref());
                let replayed = replayed.then_some(true);
                tracing::info!(node, code, duration_ms, ids, replayed, "call");
            }
        });
    }
}

/// Whether a code is an error of the service and not of its caller (OpenTelemetry, semantic
/// conventions for gRPC).
fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The path of a method that isn't there, as much of it as the log needs.
fn cut(path: &str) -> &str {
    const PATH: usize = 100;
    &path[..path.floor_char_boundary(PATH)]
}

/// A code as gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

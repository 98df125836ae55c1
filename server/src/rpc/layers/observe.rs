//! Reads a call's metadata, logs the call, and writes the response's metadata.

use std::{
    cell::Cell,
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use bookstore_store::{Position, telemetry::traces::named};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use opentelemetry::KeyValue;
use tonic::{Code, Status};
use tracing::Instrument;

use super::shared::{BESIDE, LayerContext, is_ours};
use crate::{
    meters,
    rpc::{
        context::{AnswerCell, RequestContext},
        metadata,
        metadata_error::MetadataError,
        session::SessionCell,
        status,
    },
    traces,
};

/// The layer.
pub async fn observe<F: Future<Output = Response>>(
    shared: &LayerContext,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let path = request.uri().path().to_owned();
    let ours = is_ours(&path);
    let (request_id, refused) = match metadata::request_id(request.headers()) {
        Ok(id) => (id, None),
        Err(error) => (uuid::Uuid::now_v7().to_string(), Some(error)),
    };
    let request_id: Arc<str> = request_id.into();
    let trace_id = match traces::joins_callers() {
        true => metadata::trace_id(request.headers()),
        false => None,
    };
    let method = shared.registry.at(&path).map(|method| method.path.trim_start_matches('/'));
    let beside = || BESIDE.iter().find(|beside| **beside == path).map(|it| &it[1..]);
    let name = method.or_else(beside);
    let span = tracing::info_span!(
        "call",
        otel.kind = named("server"),
        otel.name = named(name.unwrap_or("other")),
        method = if name.is_some() { &*path } else { cut(&path) },
        %request_id,
        trace_id
    );
    if name.is_some() && trace_id.is_some() {
        traces::join_caller(&span, request.headers());
    }
    let began = Instant::now();
    let answer = AnswerCell::default();
    let (quiet, span_of_line, facts) = (!ours, span.clone(), answer.clone());
    let mut line =
        AccessLogLine { began, quiet, method, name, code: None, span: span_of_line, answer: facts };

    let context = context(shared, &request, &request_id, &answer, refused);
    let mut response = match context {
        Err(error) if ours => status::metadata(&error).into_http(),
        context => {
            if let Ok(context) = context {
                request.extensions_mut().insert(context);
            }
            let run = AssertUnwindSafe(next(request)).catch_unwind().instrument(span);
            run.await.unwrap_or_else(|_| status::internal(&"a panic", &request_id).into_http())
        }
    };
    if ours {
        write_out(shared, response.headers_mut(), &request_id, &answer, line.began);
    }
    let streams = shared.registry.at(&path).is_some_and(|method| !method.unary);
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
) -> Result<RequestContext, MetadataError> {
    if let Some(error) = refused {
        return Err(error);
    }
    let options = metadata::request_options(request.headers())?;
    let method = shared.registry.at(request.uri().path());
    Ok(RequestContext {
        method: method.map_or("", |method| method.path),
        request_id: request_id.clone(),
        deadline: options.deadline,
        consistency: options.consistency.unwrap_or(shared.consistency),
        consistency_token: options.consistency_token,
        session: request.extensions().get::<SessionCell>().cloned().unwrap_or_default(),
        budget: shared.budget_of(request),
        principal: None,
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
    let mut put = |key: &'static str, value: HeaderValue| drop(headers.insert(key, value));
    let text = |value: &str| HeaderValue::from_str(value).ok();
    if let Some(value) = text(request_id) {
        put("request-id", value);
    }
    if let Some(node) = facts.node {
        put("served-by", HeaderValue::from_static(node.role()));
    }
    if let Some(attempts) = facts.attempts {
        put("attempts", attempts.into());
    }
    if let Some((position, key)) = facts.position.zip((shared.sealing_key)())
        && let Some(token) = token(&position, &key)
    {
        put("consistency-token", token);
    }
    if facts.replayed {
        put("idempotent-replay", HeaderValue::from_static("true"));
    }
    let timing = match facts.database {
        Some(database) => {
            format!("db;dur={}, total;dur={}", Milliseconds(database), since(began))
        }
        None => format!("total;dur={}", since(began)),
    };
    if let Some(value) = text(&timing) {
        put("server-timing", value);
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

fn since(began: Instant) -> Milliseconds {
    Milliseconds(began.elapsed())
}

/// A time as in the W3C's Server Timing: milliseconds, here to the microsecond.
struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(formatter, "{}.{:03}", micros / 1000, micros % 1000)
    }
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
        let span = self.line.as_ref().map(|line| line.span.clone());
        let _entered = span.as_ref().map(tracing::Span::enter);
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = AssertUnwindSafe(|| Pin::new(body).poll_frame(context));
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

/// A status where an answer has begun already.
fn trailers(status: Status) -> HeaderMap {
    let mut trailers = status.into_http::<Body>().into_parts().0.headers;
    // It stands in the headers.
    trailers.remove(http::header::CONTENT_TYPE);
    trailers
}

/// The call's line in the log. If it is dropped without a code, the caller has cancelled the call.
struct AccessLogLine {
    began: Instant,
    /// Health checks and reflection are logged at DEBUG, since there are many of them.
    quiet: bool,
    /// Of the service's own methods.
    method: Option<&'static str>,
    /// The same, or of those of health and reflection.
    name: Option<&'static str>,
    code: Option<Code>,
    span: tracing::Span,
    /// What the call has learned, such as the node that answered.
    answer: AnswerCell,
}

impl Drop for AccessLogLine {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let duration_ms = self.began.elapsed().as_secs_f64() * 1e3;
        let number = self.code.unwrap_or(Code::Cancelled);
        let code = name(number);
        if let Some(method) = self.method {
            let attributes = [
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.method", method),
                KeyValue::new("rpc.response.status_code", code),
            ];
            meters::CALLS.record(duration_ms / 1e3, &attributes);
        }
        traces::end_call(&self.span, self.name, i32::from(number), code, is_server_error(number));
        if self.quiet {
            tracing::debug!(code, duration_ms, "call");
        } else {
            // Callers learn only whether it was the primary.
            let node = self.answer.facts().node.map(|node| node.name);
            tracing::info!(node = node.as_deref(), code, duration_ms, "call");
        }
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

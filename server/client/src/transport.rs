//! The transport of tonic's generated clients. It adds deadlines, retries, idempotency keys and
//! consistency tokens to every method.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, header::AUTHORIZATION, request::Parts};
use http_body_util::{BodyExt, Collected, Full};
use prost::bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, TimeoutExpired, body::Body, metadata::MetadataMap};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};
use uuid::Uuid;

use crate::{
    balancer::{Backend, Balancer},
    endpoint::describe,
    error::{IDEMPOTENCY_KEY, PREVIOUS_ATTEMPTS, REQUEST_ID},
    method::{Repeat, repeat},
    request::WaitForReady,
    retry::{Throttle, pushback},
    service_config::{MethodConfig, ServiceConfig},
    tls::TokenFile,
    token::{Consistency, Session},
    wire::{put, text, timeout, timeout_text},
};

const TIMEOUT: &str = "grpc-timeout";
const CONSISTENCY: &str = "consistency";
const TOKEN: &str = "consistency-token";

/// The service's pushback: the delay before a retry in milliseconds; a negative one forbids a retry
/// (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The transport of a client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    shared: Arc<ClientState>,
    session: Session,
}

/// The state that the clones of a client share.
#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) balancer: Balancer,
    pub(crate) config: ServiceConfig,
    pub(crate) throttle: Option<Throttle>,
    /// The deadline of calls that have none.
    pub(crate) timeout: Option<Duration>,
    /// The token of calls that have none.
    pub(crate) token: Option<TokenFile>,
}

type CallResult = Result<http::Response<Body>, Status>;

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = CallResult> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let transport = self.clone();
        Box::pin(async move { transport.carry(request).await })
    }
}

impl Transport {
    pub(crate) fn new(shared: Arc<ClientState>, session: Session) -> Self {
        Self { shared, session }
    }

    pub(crate) fn shared(&self) -> &Arc<ClientState> {
        &self.shared
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    async fn carry(self, request: http::Request<Body>) -> CallResult {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let method = repeat(&path).unwrap_or(Repeat::Never);
        let config = self.shared.config.method(&path);
        let given = parts.headers.get(TIMEOUT).and_then(timeout);
        let default = self.shared.timeout.filter(|_| method != Repeat::Never);
        let timeout = [given.or(default), config.timeout].into_iter().flatten().min();
        self.complete(&mut parts.headers, method);
        if let Some(token) = &self.shared.token
            && !parts.headers.contains_key(AUTHORIZATION)
        {
            parts.headers.insert(AUTHORIZATION, token.header().await?);
        }
        let mut call = OutgoingCall {
            wait: parts.extensions.get::<WaitForReady>().map(|wait| wait.0),
            parts,
            method,
            config,
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            attempts: 0,
            session: self.session,
            shared: self.shared,
        };
        match method {
            Repeat::Never => call.stream(body).await,
            _ => call.unary(body).await,
        }
    }

    /// Adds the metadata that the caller didn't set.
    fn complete(&self, headers: &mut HeaderMap, method: Repeat) {
        let absent = |headers: &HeaderMap, key: &str| !headers.contains_key(key);
        if absent(headers, REQUEST_ID) {
            put(headers, REQUEST_ID, &Uuid::now_v7().to_string());
        }
        match method {
            Repeat::WithKey if absent(headers, IDEMPOTENCY_KEY) => {
                put(headers, IDEMPOTENCY_KEY, &Uuid::now_v7().to_string());
            }
            Repeat::Read => {
                let at_least = headers
                    .get(CONSISTENCY)
                    .is_none_or(|given| given.as_bytes() == Consistency::AtLeast.name().as_bytes());
                if at_least && absent(headers, TOKEN) {
                    match self.session.token() {
                        Some(token) => {
                            put(headers, TOKEN, &token);
                            put(headers, CONSISTENCY, Consistency::AtLeast.name());
                        }
                        // The session is empty, and the service refuses at-least without a token.
                        None => drop(headers.remove(CONSISTENCY)),
                    }
                }
            }
            _ => {}
        }
    }
}

/// A running call.
struct OutgoingCall {
    parts: Parts,
    method: Repeat,
    config: MethodConfig,
    deadline: Option<Instant>,
    wait: Option<bool>,
    attempts: u32,
    session: Session,
    shared: Arc<ClientState>,
}

/// The result of one attempt: the service's answer, also an error, or the loss of the connection.
type Attempt = Result<http::Response<Collected<Bytes>>, Status>;

impl OutgoingCall {
    /// Runs a unary call and retries it where that is safe.
    async fn unary(&mut self, body: Body) -> CallResult {
        // Its only message. If it can't be encoded, nothing was sent.
        let body = body.collect().await?.to_bytes();
        loop {
            let backend = match self.pick().await {
                Ok(backend) => backend,
                Err(status) => return Err(self.explain(status)),
            };
            let request = self.request(Body::new(Full::new(body.clone())));
            let sent = self.within(attempt(&backend, request)).await;
            let attempt = match sent {
                Some(Err(status)) if status.code() == Code::DeadlineExceeded => None,
                sent => sent,
            };
            let Some(attempt) = attempt else {
                return Err(self.deadline_exceeded("no answer came"));
            };
            let again = match &attempt {
                Ok(answer) => self.learn(answer),
                Err(status) => {
                    self.shared.balancer.broke(&backend, status.message());
                    self.pause(status, &HeaderMap::new())
                }
            };
            let again = again.filter(|pause| {
                self.deadline.is_none_or(|deadline| Instant::now() + *pause < deadline)
            });
            match (again, attempt) {
                (Some(pause), _) => sleep(pause).await,
                (None, Ok(answer)) => {
                    let mut answer = answer.map(Body::new);
                    self.describe(answer.headers_mut());
                    return Ok(answer);
                }
                (None, Err(status)) => return Err(self.explain(status)),
            }
        }
    }

    /// Starts a streaming call. It has one attempt, since its caller resumes it.
    async fn stream(&mut self, body: Body) -> CallResult {
        let backend = match self.pick().await {
            Ok(backend) => backend,
            Err(status) => return Err(self.explain(status)),
        };
        let request = self.request(body);
        let sent = self.within(send(&backend, request)).await;
        let Some(sent) = sent else { return Err(self.deadline_exceeded("no answer came")) };
        match sent {
            Ok(mut answer) => {
                self.describe(answer.headers_mut());
                Ok(answer)
            }
            Err(status) if status.code() == Code::DeadlineExceeded => Err(self.explain(status)),
            Err(status) => {
                self.shared.balancer.broke(&backend, status.message());
                Err(self.explain(status))
            }
        }
    }

    async fn pick(&self) -> Result<Backend, Status> {
        let wait = self.wait.or(self.config.wait_for_ready).unwrap_or_default();
        let picked = self.within(self.shared.balancer.pick(wait)).await;
        match picked {
            Some(Ok(backend)) => Ok(backend),
            Some(Err(none)) => Err(Status::unavailable(none.0)),
            None => {
                let failures = self.shared.balancer.failures();
                Err(self.deadline_exceeded(&format!("no backend was ready: {failures}")))
            }
        }
    }

    /// Waits for a future until the call's deadline.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, work).await.ok(),
            None => Some(work.await),
        }
    }

    /// The request of the next attempt.
    fn request(&mut self, body: Body) -> http::Request<Body> {
        self.attempts += 1;
        let mut request = http::Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.version_mut() = self.parts.version;
        let headers = request.headers_mut();
        headers.clone_from(&self.parts.headers);
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            put(headers, TIMEOUT, &timeout_text(left));
        }
        if self.attempts > 1 {
            put(headers, PREVIOUS_ATTEMPTS, &(self.attempts - 1).to_string());
        }
        request
    }

    /// Processes an answer: stores the token of a success, and decides whether and when a failure
    /// is retried.
    fn learn(&self, answer: &http::Response<Collected<Bytes>>) -> Option<Duration> {
        let headers = answer.headers();
        if let Some(token) = text(headers, TOKEN) {
            self.session.observe(token);
        }
        let trailers = answer.body().trailers().unwrap_or(headers);
        let status = Status::from_header_map(headers).or_else(|| Status::from_header_map(trailers));
        let status = match status {
            Some(status) if status.code() != Code::Ok => status,
            _ => {
                if let Some(throttle) = &self.shared.throttle {
                    throttle.succeeded();
                }
                return None;
            }
        };
        let reason = status.get_details_error_info().map(|info| info.reason);
        if matches!(reason.as_deref(), Some("WRITE_MAY_BE_LOST" | "TOKEN_UNVERIFIABLE")) {
            // It is reported once. The next read is sent without the token.
            self.session.forget();
        }
        let asked = if trailers.contains_key(PUSHBACK) { trailers } else { headers };
        self.pause(&status, asked)
    }

    /// The pause before a retry; none if the failed attempt isn't retried.
    fn pause(&self, status: &Status, headers: &HeaderMap) -> Option<Duration> {
        let policy = self.config.retry_policy.as_ref()?;
        let retryable = policy.retryable_status_codes.contains(&status.code());
        let asked = headers.get(PUSHBACK).map(|asked| {
            asked.to_str().ok().and_then(|asked| asked.parse().ok()).map(Duration::from_millis)
        });
        if !retryable && asked != Some(None) {
            return None;
        }
        let may = self.shared.throttle.as_ref().is_none_or(Throttle::failed);
        if !may || !retryable || self.attempts >= policy.max_attempts {
            return None;
        }
        match asked {
            Some(asked) => asked.map(pushback),
            None => {
                let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
                let backoff = policy.backoff(self.attempts + 1);
                Some(asked.map_or(backoff, |asked| pushback(asked).max(backoff)))
            }
        }
    }

    fn deadline_exceeded(&self, message: &str) -> Status {
        self.explain(Status::deadline_exceeded(format!("the deadline passed: {message}")))
    }

    /// A failure that the client detected, with the call's metadata.
    fn explain(&self, status: Status) -> Status {
        let mut headers = status.metadata().clone().into_headers();
        for key in [REQUEST_ID, IDEMPOTENCY_KEY] {
            if let Some(value) = self.parts.headers.get(key) {
                headers.insert(HeaderName::from_static(key), value.clone());
            }
        }
        self.describe(&mut headers);
        Status::with_metadata(status.code(), status.message(), MetadataMap::from_headers(headers))
    }

    /// Writes what the client has done into an answer's metadata.
    fn describe(&self, headers: &mut HeaderMap) {
        if self.attempts > 0 {
            put(headers, PREVIOUS_ATTEMPTS, &(self.attempts - 1).to_string());
        }
        if self.method == Repeat::WithKey
            && let Some(key) = self.parts.headers.get(IDEMPOTENCY_KEY)
        {
            headers.insert(HeaderName::from_static(IDEMPOTENCY_KEY), key.clone());
        }
    }
}

/// Sends a request and reads the whole answer.
async fn attempt(backend: &Backend, request: http::Request<Body>) -> Attempt {
    let answer = match send(backend, request).await {
        Ok(answer) => answer,
        Err(status) => return Err(status),
    };
    let (parts, body) = answer.into_parts();
    match body.collect().await {
        // A connection that is closed before the answer's end counts as broken.
        Ok(body)
            if body.trailers().is_some() || Status::from_header_map(&parts.headers).is_some() =>
        {
            Ok(http::Response::from_parts(parts, body))
        }
        Ok(_) => Err(Status::unavailable("the answer broke off")),
        Err(status) => Err(Status::unavailable(describe(&status))),
    }
}

/// Sends a request and waits for the answer's beginning.
///
/// # Errors
/// UNAVAILABLE if the connection broke; DEADLINE_EXCEEDED if the channel's own timer, which reads
/// `grpc-timeout` too, went off before the call's.
async fn send(backend: &Backend, request: http::Request<Body>) -> CallResult {
    let answer = backend.channel.clone().oneshot(request).await;
    answer.map_err(|error| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if error.is::<TimeoutExpired>() {
                return Status::deadline_exceeded("the deadline passed: no answer came");
            }
            cause = error.source();
        }
        Status::unavailable(describe(&error))
    })
}

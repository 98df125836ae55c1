//! Receives requests whole, each within its time and within the budget of its connection.
//!
//! The one request of a call is collected here before anything below is asked for it. Of a call
//! whose requests stream, each message is. So no handler and no permit waits for a peer that is
//! slow, and the transport's buffers hold a window at most.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use bookstore_proto::bounds;
use futures_util::stream;
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::time::timeout;
use tonic::Status;

use super::{
    authenticate,
    load::{StreamPermit, load},
    shared::{HEALTH, LayerContext, REFLECTION, is_compressed},
};
use crate::{
    budget::{Account, BudgetSide, CALL, Held, INCLUDED},
    rpc::{
        context::RequestContext,
        load::{CallKind, Load, WAIT},
        status,
    },
};

/// What a call whose requests stream may have in the transport's buffer while its handler is
/// busy, in bytes: HTTP/2's window of a stream.
pub const WINDOW: usize = 64 * 1024;

/// What stands before a message: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

/// The layer.
pub async fn receive<F: Future<Output = Response>>(
    shared: &LayerContext,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let budget = shared.budget_of(&request);
    let account = budget.account();
    let path = request.uri().path();
    let method = shared.registry.at(path);
    let streams = match method {
        Some(method) => method.streams_requests,
        None => path.starts_with(REFLECTION),
    };
    let is_health = path.starts_with(HEALTH);
    let window = if streams { WINDOW } else { 0 };
    let cost = CALL + size_of_headers(request.headers()) + window;
    let Some(mut held) = account.take(BudgetSide::Received, cost, WAIT).await else {
        return status::overloaded().into_http();
    };
    // A connection that doesn't take its answers gets no further ones, except of health.
    if !is_health && !account.has_room(WAIT).await {
        return status::overloaded().into_http();
    }
    if streams {
        // The messages end with the peer's half of the stream. The call ends with its answer, and
        // until then it takes its memory.
        budget.hold(held.split(CALL));
    }
    let mut receiver = Receiver {
        body: std::mem::take(request.body_mut()),
        rest: Bytes::new(),
        base: held.bytes(),
        held,
        decoded: account.nothing(BudgetSide::Decoded),
        request: method.map(|method| method.request.clone()),
        limit: shared.max_message_size,
        has_encoding: is_compressed(request.headers()),
    };
    if streams {
        let permit = request.extensions().get::<RequestContext>().zip(method);
        let permit = permit.map(|(context, method)| Wanted {
            load: shared.load.clone(),
            account: account.clone(),
            method: method.path,
            request_id: context.request_id.clone(),
        });
        let held = StreamPermit::default();
        let messages = RequestStream {
            receiver,
            idle: shared.stream_idle_timeout,
            context: request.extensions().get::<RequestContext>().cloned(),
            permit,
            held: held.clone(),
        };
        *request.body_mut() = Body::from_stream(stream::try_unfold(messages, RequestStream::next));
        return load(shared, request, next, Some(held)).await;
    }
    let body = match timeout(shared.request_timeout, receiver.only()).await {
        Ok(Ok(body)) => body,
        Ok(Err(refused)) => return refused.into_http(),
        Err(_) => return status::request_timeout(shared.request_timeout).into_http(),
    };
    *request.body_mut() = Body::from(body);
    let response = load(shared, request, next, None).await;
    // The answer may go on for long: the call is held until its end, its request is not.
    let Receiver { mut held, .. } = receiver;
    held.set(CALL);
    budget.hold(held);
    response
}

/// What metadata takes, as HTTP/2 counts it (RFC 9113, 6.5.2).
pub fn size_of_headers(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// Reads messages from a request's body.
struct Receiver {
    body: Body,
    /// What came behind the last message.
    rest: Bytes,
    held: Held,
    decoded: Held,
    base: usize,
    /// The full name of the type of the messages, where it is one of the contract.
    request: Option<Arc<str>>,
    limit: usize,
    /// Whether the request says how its messages are compressed.
    has_encoding: bool,
}

impl Receiver {
    /// The only message, with its prefix; empty if there is none.
    async fn only(&mut self) -> Result<Bytes, Status> {
        let Some(message) = self.message().await? else { return Ok(Bytes::new()) };
        match self.more().await? {
            true => Err(status::second_message()),
            false => Ok(message),
        }
    }

    /// The next message, with its prefix. The memory of the one before is given back.
    async fn message(&mut self) -> Result<Option<Bytes>, Status> {
        self.held.set(self.base);
        self.decoded.set(0);
        let mut prefix = [0; PREFIX];
        let mut have = 0;
        while have < PREFIX {
            if !self.more().await? {
                return match have {
                    0 => Ok(None),
                    _ => Err(status::malformed_message()),
                };
            }
            let take = (PREFIX - have).min(self.rest.len());
            prefix[have..have + take].copy_from_slice(&self.rest.split_to(take));
            have += take;
        }
        let [flag, length @ ..] = prefix;
        if flag == 1 && !self.has_encoding {
            return Err(status::compressed_without_encoding());
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(status::message_too_large(self.limit));
        }
        // All of it before its first byte: what has begun to come can come to its end.
        if length > INCLUDED && !self.held.grow(length, WAIT).await {
            return Err(status::overloaded());
        }
        // Copied: a small piece of a body may hold a buffer of the transport that is far larger.
        let mut message = Vec::with_capacity(PREFIX + length.min(WINDOW));
        message.extend_from_slice(&prefix);
        while message.len() < PREFIX + length {
            if !self.more().await? {
                return Err(status::malformed_message());
            }
            let take = (PREFIX + length - message.len()).min(self.rest.len());
            message.extend_from_slice(&self.rest.split_to(take));
        }
        self.weigh(prefix[0], &message[PREFIX..]).await?;
        Ok(Some(message.into()))
    }

    /// Makes sure that there is room for what the message is decoded to.
    async fn weigh(&mut self, flag: u8, message: &[u8]) -> Result<(), Status> {
        // A compressed message isn't decoded: that is refused.
        let name = self.request.as_deref().and_then(|name| name.strip_prefix("bookstore.v1."));
        let Some(measure) = name.filter(|_| flag == 0).and_then(|it| bounds::measure(it, message))
        else {
            return Ok(());
        };
        // What breaks a bound is refused by the decoder and never takes this.
        if !measure.violations.is_empty() {
            return Ok(());
        }
        let limit = self.decoded.account().limit(BudgetSide::Decoded);
        if measure.decoded > limit {
            return Err(status::too_large_decoded(limit));
        }
        if measure.decoded <= INCLUDED {
            return Ok(());
        }
        match self.decoded.grow(measure.decoded, WAIT).await {
            true => Ok(()),
            false => Err(status::overloaded()),
        }
    }

    /// Whether there is more of the body; then `rest` isn't empty.
    async fn more(&mut self) -> Result<bool, Status> {
        while self.rest.is_empty() {
            match self.body.frame().await {
                None => return Ok(false),
                // The caller has left: the answer reaches no one.
                Some(Err(_)) => return Err(status::cancelled()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest = data;
                    }
                }
            }
        }
        Ok(true)
    }
}

/// The messages of a call whose requests stream.
struct RequestStream {
    receiver: Receiver,
    idle: Duration,
    /// None only past the layer that makes it.
    context: Option<RequestContext>,
    permit: Option<Wanted>,
    held: StreamPermit,
}

/// The permit that a call takes with its first message.
struct Wanted {
    load: Load,
    account: Account,
    method: &'static str,
    request_id: Arc<str>,
}

impl RequestStream {
    /// The next message. The time counts only while the handler waits for it.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Status> {
        let message = timeout(self.idle, self.receiver.message()).await;
        let message = message.map_err(|_| status::stream_idle(self.idle))??;
        let Some(message) = message else { return Ok(None) };
        self.context.as_ref().map_or(Ok(()), authenticate::still)?;
        if let Some(Wanted { load, account, method, request_id }) = self.permit.take() {
            let permit = load.permit(&account, CallKind::Stream, method, &request_id).await;
            self.held.set(permit.ok_or_else(status::overloaded)?);
        }
        Ok(Some((message, self)))
    }
}

//! Sends calls away that the service has no room for.
//!
//! A permit is taken once a call's request is there: what comes slowly holds none.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};

use super::shared::LayerContext;
use crate::rpc::{
    context::RequestContext,
    load::{CallKind, Permit, WAIT},
    status,
};

/// Runs a call once it has its permit. Only the contract's methods are counted: health and
/// reflection are always answered. A call whose requests stream has its permit from its first message on, which
/// [`super::receive`] sees.
pub async fn load(shared: &LayerContext, request: Request, next: Next) -> Response {
    let method = shared.registry.at(request.uri().path());
    let context = request.extensions().get::<RequestContext>();
    let (Some(method), Some(context)) = (method, context) else {
        return next.run(request).await;
    };
    let account = context.budget.account();
    // A connection that doesn't take its answers gets no further ones.
    if !account.has_room(WAIT).await {
        return status::overloaded().into_http();
    }
    if method.streams_requests {
        return next.run(request).await;
    }
    let kind = if method.unary { CallKind::Unary } else { CallKind::Stream };
    let permit = shared.load.permit(account, kind, method.path, &context.request_id).await;
    let Some(permit) = permit else { return status::overloaded().into_http() };
    let response = next.run(request).await;
    // An answer that is whole needs nothing more of the service but the memory that its
    // connection's account has it for.
    match kind {
        CallKind::Unary => response,
        CallKind::Stream => response.map(|body| Body::new(Streaming { body, _permit: permit })),
    }
}

/// The body of a call that is in flight until its end.
struct Streaming {
    body: Body,
    _permit: Permit,
}

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

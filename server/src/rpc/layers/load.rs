//! Refuses calls beyond the limit on calls in flight.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};

use super::shared::LayerContext;
use crate::rpc::{context::RequestContext, load::Permit, status};

/// The layer. Only the contract's methods are counted: health and reflection are always
/// answered.
pub async fn load(State(shared): State<LayerContext>, request: Request, next: Next) -> Response {
    let method = shared.registry.at(request.uri().path());
    let context = request.extensions().get::<RequestContext>();
    let (Some(method), Some(context)) = (method, context) else { return next.run(request).await };
    let Some(permit) = shared.load.acquire(method.path, &context.request_id).await else {
        return status::overloaded().into_http();
    };
    let response = next.run(request).await;
    // An answer that is whole needs nothing more of the service, however slowly it is read.
    match method.unary {
        true => response,
        false => response.map(|body| Body::new(Streaming { body, _permit: permit })),
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

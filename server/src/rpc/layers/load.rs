//! Sends calls away that the service has no room for.
//!
//! A permit is taken once a call's request is there: what comes slowly holds none.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http_body::{Frame, SizeHint};

use super::shared::LayerContext;
use crate::rpc::{
    context::RequestContext,
    load::{CallKind, Permit},
    status,
};

/// Runs a call once it has its permit. Health and reflection need none. A call whose requests stream
/// has its permit from its first message on, which [`super::receive`] takes and puts into `streamed`.
pub async fn load<F: Future<Output = Response>>(
    shared: &LayerContext,
    request: Request,
    next: impl FnOnce(Request) -> F,
    streamed: Option<StreamPermit>,
) -> Response {
    let method = shared.registry.at(request.uri().path());
    let context = request.extensions().get::<RequestContext>();
    let (Some(method), Some(context)) = (method, context) else {
        return next(request).await;
    };
    if let Some(permit) = streamed {
        let response = next(request).await;
        return response.map(|body| Body::new(Streaming { body, _permit: permit }));
    }
    let kind = if method.unary { CallKind::Unary } else { CallKind::Stream };
    let permit =
        shared.load.permit(context.budget.account(), kind, method.path, &context.request_id).await;
    let Some(permit) = permit else { return status::overloaded().into_http() };
    let response = next(request).await;
    // An answer that is whole needs nothing more of the service but the memory that its
    // connection's account has it for.
    match kind {
        CallKind::Unary => response,
        CallKind::Stream => {
            let held = StreamPermit::default();
            held.set(permit);
            response.map(|body| Body::new(Streaming { body, _permit: held }))
        }
    }
}

/// The permit of a call that streams. Its requests and its answer hold it together: it ends with
/// the last of the two.
#[derive(Clone, Debug, Default)]
pub struct StreamPermit(Arc<OnceLock<Permit>>);

impl StreamPermit {
    /// Holds the permit from now on.
    pub fn set(&self, permit: Permit) {
        // A call takes one permit; a second one would be dropped here.
        let _ = self.0.set(permit);
    }
}

/// The body of a call that is in flight until its end.
struct Streaming {
    body: Body,
    _permit: StreamPermit,
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

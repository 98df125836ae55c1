//! Answers DEADLINE_EXCEEDED once the deadline has passed. Work that still runs ends by its own
//! timeouts.

use std::time::Instant;

use axum::{extract::Request, response::Response};
use tokio::time::timeout_at;

use super::shared::LayerContext;
use crate::rpc::{context::RequestContext, status};

/// The layer. Methods that stream have no deadline here: theirs lasts longer than their first
/// answer.
pub async fn deadline<F: Future<Output = Response>>(
    shared: &LayerContext,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let unary = shared.registry.at(request.uri().path()).is_some_and(|method| method.unary);
    let context = request.extensions().get::<RequestContext>();
    let deadline = context.and_then(|context| context.deadline.instant()).filter(|_| unary);
    let Some(deadline) = deadline else { return next(request).await };
    if deadline <= Instant::now() {
        return status::deadline_exceeded().into_http();
    }
    match timeout_at(deadline.into(), next(request)).await {
        Ok(response) => response,
        Err(_) => status::deadline_exceeded().into_http(),
    }
}

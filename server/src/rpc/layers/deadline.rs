//! Answers DEADLINE_EXCEEDED once the deadline has passed. Work that still runs ends by its own
//! timeouts.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::time::timeout_at;

use super::shared::LayerContext;
use crate::rpc::{context::RequestContext, status};

/// The layer. Methods that stream have no deadline here: theirs lasts longer than their first
/// answer.
pub async fn deadline(
    State(shared): State<Arc<LayerContext>>,
    request: Request,
    next: Next,
) -> Response {
    let unary = shared.registry.at(request.uri().path()).is_some_and(|method| method.unary);
    let context = request.extensions().get::<RequestContext>();
    let deadline = context.and_then(|context| context.deadline.instant()).filter(|_| unary);
    let Some(deadline) = deadline else { return next.run(request).await };
    if deadline <= Instant::now() {
        return status::deadline_exceeded().into_http();
    }
    match timeout_at(deadline.into(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => status::deadline_exceeded().into_http(),
    }
}

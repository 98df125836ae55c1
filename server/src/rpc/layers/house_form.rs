//! Gives errors that come from the transport, not from our handlers, the contract's form.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use tonic::Status;

use super::shared::{LayerContext, is_ours};
use crate::rpc::status;

/// The layer. Our own errors carry details; an error of one of our methods without them is
/// the transport's.
pub async fn house_form(
    State(shared): State<LayerContext>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    if !is_grpc(request.headers()) {
        // As gRPC asks (PROTOCOL-HTTP2, Requests) for a content type of another protocol.
        let mut refusal = Response::default();
        *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return refusal;
    }
    let response = next.run(request).await;
    if !is_ours(&path) {
        return response;
    }
    match rewrite(&shared, response.headers(), &path) {
        Some(rewritten) => rewritten.into_http(),
        None => response,
    }
}

fn rewrite(shared: &LayerContext, headers: &HeaderMap, path: &str) -> Option<Status> {
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    let is_method = shared.registry.at(path).is_some();
    status::of_transport(&status, path, is_method, shared.max_message_size)
}

/// `application/grpc`, or with the name of a message format behind it.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type
        .and_then(|text| text.strip_prefix("application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

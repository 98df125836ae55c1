//! Gives errors that come from the transport, not from our handlers, the contract's form.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use tonic::{Code, Status};

use super::{Shared, is_ours};
use crate::rpc::status;

/// The layer. Our own errors carry details; an error of one of our methods without them is
/// the transport's.
pub async fn house_form(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if !is_grpc(request.headers()) {
        // As gRPC asks (PROTOCOL-HTTP2, Requests): whoever sends this speaks another protocol.
        let mut refusal = Response::default();
        *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return refusal;
    }
    let response = next.run(request).await;
    if !is_ours(&path) {
        return response;
    }
    if let Some(rewritten) = rewrite(response.headers(), &path, shared.max_message_size) {
        return rewritten.into_http();
    }
    response
}

fn rewrite(headers: &HeaderMap, path: &str, max_message_size: usize) -> Option<Status> {
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    let told = status.message();
    match status.code() {
        Code::Ok => None,
        Code::Unimplemented if told.contains("compressed") => {
            Some(status::encoding_not_supported(told))
        }
        Code::Unimplemented => Some(status::method_not_found(path)),
        // Too large: OUT_OF_RANGE as it came in, RESOURCE_EXHAUSTED once decompressed.
        Code::OutOfRange | Code::ResourceExhausted => {
            Some(status::message_too_large(max_message_size))
        }
        // tonic's word for bytes that it can't read.
        Code::Internal => Some(status::malformed_message()),
        // The caller has left in the middle of its request.
        _ => None,
    }
}

/// `application/grpc`, or with the name of a message format behind it.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type
        .and_then(|text| text.strip_prefix("application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

//! Gives errors that come from the transport, not from our handlers, the contract's form.

use std::borrow::Cow;

use axum::{extract::Request, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use tonic::Status;

use super::{
    receive::size_of_headers,
    shared::{LayerContext, is_compressed, is_ours},
};
use crate::rpc::status;

/// The most metadata of a call, in bytes, as HTTP/2 counts it (RFC 9113, 6.5.2). The transport
/// takes a little more, so that most who send too much learn why.
const METADATA: usize = 16 * 1024;

/// The header of an answer that is a status.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The header that names the compressions that are taken.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// The layer. Our own errors carry details; an error of one of our methods without them is
/// the transport's.
pub async fn house_form<F: Future<Output = Response>>(
    shared: &LayerContext,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if request.method() != Method::POST {
        // As gRPC asks (PROTOCOL-HTTP2, Requests): every call is a POST.
        let mut refusal = Response::default();
        *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return refusal;
    }
    if !is_grpc(request.headers()) {
        // As gRPC asks (PROTOCOL-HTTP2, Requests) for a content type of another protocol.
        let mut refusal = Response::default();
        *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return refusal;
    }
    let size = size_of_headers(request.headers());
    if size > METADATA {
        return status::metadata_too_large(size, METADATA).into_http();
    }
    let is_compressed = is_compressed(request.headers());
    let path = request.uri().path();
    let (ours, method) = (is_ours(path), shared.registry.at(path).map(|method| method.path));
    let path = method.map_or_else(|| Cow::Owned(path.to_owned()), Cow::Borrowed);
    let response = next(request).await;
    let rewritten = match ours {
        true => rewrite(shared, response.headers(), &path),
        false => None,
    };
    let mut response = rewritten.map_or(response, Status::into_http);
    if is_compressed {
        // So that clients fall back by themselves (gRPC, Compression).
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    response
}

fn rewrite(shared: &LayerContext, headers: &HeaderMap, path: &str) -> Option<Status> {
    if !headers.contains_key(&GRPC_STATUS) || headers.contains_key("grpc-status-details-bin") {
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

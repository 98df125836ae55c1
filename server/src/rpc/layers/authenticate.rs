//! Finds out who calls, and whether the caller may call the method, before anything is read of the
//! request and before the call takes any room.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use bookstore_auth::{PeerName, credentials::CredentialsError};
use http::HeaderValue;
use http_body::Frame;
use tonic::Status;

use super::shared::{BESIDE, HEALTH, LayerContext, peer, trailers};
use crate::{
    rpc::{
        access::{self, RefusedPart},
        context::RequestContext,
        method::MethodKind,
    },
    security::{
        access::{Admitted, Denied, StreamAccess, take_authorization},
        audit::PeerAddress,
    },
};

/// Credentials in another form than `authorization`, which some libraries make of bytes.
const BINARY: &str = "authorization-bin";

/// The layer. Health is exempt, for probes have no credentials. Without a policy every call passes.
pub async fn authenticate<F: Future<Output = Response>>(
    shared: &LayerContext,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let Some(control) = &shared.access else { return next(request).await };
    if request.uri().path().starts_with(HEALTH) {
        return next(request).await;
    }
    let path = path(shared, &request);
    let has_binary = request.headers().contains_key(BINARY);
    let authorization = take_authorization(request.headers_mut());
    let authorization: Vec<&[u8]> = authorization.iter().map(HeaderValue::as_bytes).collect();
    let certificate = request.extensions().get::<PeerName>();
    let admitted = match has_binary {
        true => Err(Denied::Credentials(CredentialsError::SCHEME)),
        false => control.admit(&authorization, certificate, path).await,
    };
    let method = shared.registry.at(path);
    let (admitted, denied, diagnoses) = match admitted {
        Ok(Admitted { principal, reported, diagnoses }) => (Some(principal), reported, diagnoses),
        Err(denied) => (None, Some(denied), false),
    };
    if let Some(denied) = denied {
        let status = access::refuse(
            &denied,
            &RefusedPart {
                certificate: certificate.and_then(PeerName::get).map(|name| &**name),
                peer: peer(&request),
                path,
                entries: method.and_then(|method| method.entries),
                request_id: request
                    .extensions()
                    .get::<RequestContext>()
                    .map_or("", |context| &context.request_id),
                only_reported: admitted.is_some(),
            },
        );
        if admitted.is_none() {
            return status.into_http();
        }
    }
    let principal = admitted.flatten();
    let streams = method.is_none_or(|method| !method.unary);
    let stream = streams
        .then(|| StreamAccess::new(control.clone(), &authorization, certificate.cloned(), path));
    let has_parts = method.is_some_and(|method| method.kind == MethodKind::Direct);
    let control = has_parts.then(|| control.clone());
    let Some(context) = request.extensions_mut().get_mut::<RequestContext>() else {
        return next(request).await;
    };
    context.principal = principal;
    if diagnoses {
        context.answer.name_node();
    }
    context.control = control;
    context.stream_access.clone_from(&stream);
    let Some(access) = stream else { return next(request).await };
    let (request_id, peer) = (context.request_id.clone(), context.peer);
    let response = next(request).await;
    let watched = |body| Watched { body: Some(body), access, request_id, peer };
    response.map(|body| Body::new(watched(body)))
}

/// Makes sure that a call that streams may still go on; for each of its messages.
///
/// # Errors
/// Why it may not.
pub(super) fn still(context: &RequestContext) -> Result<(), Status> {
    match &context.stream_access {
        Some(access) => check(access, &context.request_id, context.peer),
        None => Ok(()),
    }
}

fn check(access: &StreamAccess, request_id: &str, peer: PeerAddress) -> Result<(), Status> {
    access.check().map_err(|denied| {
        access::refuse(
            &denied,
            &RefusedPart {
                certificate: access.certificate(),
                peer,
                path: access.method(),
                entries: None,
                request_id,
                only_reported: false,
            },
        )
    })
}

/// The answer of a call that streams. It ends once its caller may not have it any more.
struct Watched {
    /// None once it has ended early.
    body: Option<Body>,
    access: StreamAccess,
    request_id: Arc<str>,
    peer: PeerAddress,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        let has_message = frame.as_ref().is_some_and(|it| it.as_ref().is_ok_and(Frame::is_data));
        let may =
            if has_message { check(&self.access, &self.request_id, self.peer) } else { Ok(()) };
        if let Err(status) = may {
            // Dropped, which ends the work behind it.
            self.body = None;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(status)))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}

/// The path of the method: one of the registry or of those beside it, so that it lives as long as
/// the program. Empty for a path without a method.
fn path(shared: &LayerContext, request: &Request) -> &'static str {
    let path = request.uri().path();
    let beside = || BESIDE.into_iter().find(|beside| *beside == path);
    shared.registry.at(path).map(|method| method.path).or_else(beside).unwrap_or_default()
}

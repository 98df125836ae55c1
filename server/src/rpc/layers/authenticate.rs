//! Finds out who calls, and whether the caller may call the method, before anything is read of the
//! request and before the call takes any room.

use axum::{extract::Request, response::Response};
use bookstore_auth::{PeerName, Principal, credentials::CredentialsError};
use http::header::AUTHORIZATION;
use tonic::{
    Status,
    transport::server::{TcpConnectInfo, UdsConnectInfo},
};

use super::shared::{BESIDE, HEALTH, LayerContext};
use crate::{
    rpc::{context::RequestContext, status},
    security::{
        access::{Denied, StreamAccess},
        audit::{self, Refusal},
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
    let Some(control) = shared.access.clone() else { return next(request).await };
    if request.uri().path().starts_with(HEALTH) {
        return next(request).await;
    }
    let path = path(shared, &request);
    let headers = request.headers();
    let authorization = headers.get_all(AUTHORIZATION);
    let authorization: Vec<&[u8]> = authorization.iter().map(|value| value.as_bytes()).collect();
    let certificate = request.extensions().get::<PeerName>().cloned();
    let admitted = match headers.contains_key(BINARY) {
        true => Err(Denied::Credentials(CredentialsError::SCHEME)),
        false => control.admit(&authorization, certificate.as_ref(), path).await,
    };
    let principal = match admitted {
        Ok(principal) => principal,
        Err(denied) => return deny(&request, &denied, path).into_http(),
    };
    let streams = shared.registry.at(path).is_none_or(|method| !method.unary);
    let stream =
        streams.then(|| StreamAccess::new(control.clone(), &authorization, certificate, path));
    drop(authorization);
    // What comes after has no need of the secret.
    request.headers_mut().remove(AUTHORIZATION);
    if let Some(context) = request.extensions_mut().get_mut::<RequestContext>() {
        context.principal = principal;
        context.stream_access = stream;
    }
    next(request).await
}

/// Tells the audit log why a call is refused, and gives the caller's answer.
fn deny(request: &Request, denied: &Denied, path: &str) -> Status {
    let (reason, status) = match denied {
        Denied::Credentials(CredentialsError::Repeated) => {
            ("INVALID_METADATA", status::access::credentials_repeated())
        }
        Denied::Credentials(CredentialsError::Invalid(_)) => {
            ("CREDENTIALS_INVALID", status::access::credentials_invalid())
        }
        Denied::Credentials(CredentialsError::Expired) => {
            ("CREDENTIALS_EXPIRED", status::access::credentials_expired())
        }
        Denied::Credentials(CredentialsError::KeysUnavailable(_)) => {
            ("KEYS_UNAVAILABLE", status::access::keys_unavailable())
        }
        Denied::CredentialsMissing => {
            ("CREDENTIALS_MISSING", status::access::credentials_missing())
        }
        Denied::MethodForbidden(_) => ("METHOD_FORBIDDEN", status::access::method_forbidden(path)),
    };
    let cause = match denied {
        Denied::Credentials(error) => error.cause(),
        Denied::CredentialsMissing | Denied::MethodForbidden(_) => String::new(),
    };
    let principal = match denied {
        Denied::MethodForbidden(principal) => Some(&**principal),
        Denied::Credentials(_) | Denied::CredentialsMissing => None,
    };
    let certificate = request.extensions().get::<PeerName>();
    let context = request.extensions().get::<RequestContext>();
    audit::refused(&Refusal {
        principal: principal.map(|principal: &Principal| &*principal.name),
        certificate: certificate.and_then(PeerName::get).map(|name| &**name),
        peer: &peer(request),
        method: path.trim_start_matches('/'),
        reason,
        cause: &cause,
        request_id: context.map_or("", |context| &context.request_id),
    });
    status
}

/// The path of the method: one of the registry or of those beside it, so that it lives as long as
/// the program. Empty for a path without a method.
fn path(shared: &LayerContext, request: &Request) -> &'static str {
    let path = request.uri().path();
    let beside = || BESIDE.into_iter().find(|beside| *beside == path);
    shared.registry.at(path).map(|method| method.path).or_else(beside).unwrap_or_default()
}

/// The address of the connection's other end.
fn peer(request: &Request) -> String {
    let extensions = request.extensions();
    let tcp = || extensions.get::<TcpConnectInfo>()?.remote_addr();
    let local = || extensions.get::<UdsConnectInfo>()?.peer_cred;
    match (tcp(), local()) {
        (Some(address), _) => address.to_string(),
        (None, Some(peer)) => format!("unix, user {}", peer.uid()),
        (None, None) => String::new(),
    }
}

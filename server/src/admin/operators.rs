//! Who may ask the admin address: the section `[operators]` of the policy. Without a policy everyone
//! who reaches it may.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bookstore_auth::{credentials::CredentialsError, policy::SeenCaller};
use http::{HeaderValue, Method, StatusCode, header::WWW_AUTHENTICATE};
use serde_json::{Value, json};

use crate::security::{
    access::{AccessControl, Denied, take_authorization},
    audit::{self, PeerAddress, RefusedCall},
};

/// Lets a request pass whose caller may make it.
pub(super) async fn guard(
    State(access): State<Option<Arc<AccessControl>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(access) = access else { return next.run(request).await };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let given = take_authorization(request.headers_mut());
    let given: Vec<&[u8]> = given.iter().map(HeaderValue::as_bytes).collect();
    let admitted = match reads {
        true => access.admit_operator(&given, |operators| operators.see).await,
        false => access.admit_operator(&given, |operators| operators.change).await,
    };
    let peer = request.extensions().get::<PeerAddress>().copied().unwrap_or_default();
    let method = format!("{} {}", request.method(), request.uri().path());
    match admitted {
        Ok(None) => next.run(request).await,
        Ok(Some(denied)) => {
            log_refusal(&denied, peer, &method, true);
            next.run(request).await
        }
        Err(denied) => {
            log_refusal(&denied, peer, &method, false);
            answer(&denied)
        }
    }
}

fn log_refusal(denied: &Denied, peer: PeerAddress, method: &str, only_reported: bool) {
    audit::refused(&RefusedCall {
        principal: denied.principal(),
        certificate: None,
        peer,
        method,
        reason: denied.reason(),
        cause: &denied.cause(),
        request_id: "",
        only_reported,
    });
}

/// The answer to a caller that is refused (RFC 6750, 3).
fn answer(denied: &Denied) -> Response {
    match denied {
        Denied::Credentials(CredentialsError::KeysUnavailable(_)) => {
            let message = "the keys that verify the credentials can't be read yet\n";
            (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
        }
        Denied::Credentials(_) | Denied::CredentialsMissing => {
            let message = "the request needs credentials that are right and in force\n";
            let scheme = [(WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, scheme, message).into_response()
        }
        Denied::MethodForbidden(_) | Denied::EntriesForbidden(_) => {
            (StatusCode::FORBIDDEN, "the caller may not do this\n").into_response()
        }
    }
}

/// The calls that a policy in report mode has seen, for `bookstore policy suggest`; none if the
/// policy doesn't only report.
pub(super) fn policy_calls(access: &AccessControl) -> Option<Value> {
    let calls = access.seen()?.into_iter().map(|call| {
        let (roles, caller) = match call.caller {
            SeenCaller::NoCredentials => (Vec::new(), None),
            SeenCaller::Roles(roles) => (roles, None),
            SeenCaller::NoRole(caller) => (Vec::new(), Some(caller)),
        };
        let (method, count) = (call.method.to_string(), call.count);
        json!({"method": method, "roles": roles, "caller": caller, "count": count})
    });
    Some(calls.collect())
}

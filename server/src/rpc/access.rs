//! Refuses calls and parts of calls that the policy forbids: answers the caller, and writes the audit
//! log.

use bookstore_auth::credentials::CredentialsError;
use bookstore_store::FieldViolation;
use tonic::Status;

use super::{context::RequestContext, method::EntryMethod, status};
use crate::security::{
    access::Denied,
    audit::{self, PeerAddress, RefusedCall},
};

/// What is refused.
#[derive(Clone, Copy)]
pub struct RefusedPart<'a> {
    /// The name of the connection's client certificate.
    pub certificate: Option<&'a str>,
    /// The address of the connection's other end.
    pub peer: PeerAddress,
    /// The path of the method that the caller may not call.
    pub path: &'a str,
    /// What judges the entries of the method's calls.
    pub entries: Option<EntryMethod>,
    /// The call's request id.
    pub request_id: &'a str,
    /// The call goes on: the policy only reports.
    pub only_reported: bool,
}

/// Logs why a call is refused (target `audit`), and returns the caller's answer.
pub fn refuse(denied: &Denied, part: &RefusedPart<'_>) -> Status {
    match (denied, part.entries) {
        (Denied::EntriesForbidden(_), Some(EntryMethod { path, field })) => {
            tell(denied, &RefusedPart { path, ..*part });
            status_of(denied, path, &[violation(field.to_owned())])
        }
        _ => {
            tell(denied, part);
            status_of(denied, part.path, &[])
        }
    }
}

fn violation(field: String) -> FieldViolation {
    FieldViolation::new(field, "is a call that the caller may not make")
}

fn tell(denied: &Denied, part: &RefusedPart<'_>) {
    audit::refused(&RefusedCall {
        principal: denied.principal(),
        certificate: part.certificate,
        peer: part.peer,
        method: part.path.trim_start_matches('/'),
        reason: denied.reason(),
        cause: &denied.cause(),
        request_id: part.request_id,
        only_reported: part.only_reported,
    });
}

fn status_of(denied: &Denied, path: &str, entries: &[FieldViolation]) -> Status {
    match denied {
        Denied::Credentials(CredentialsError::Repeated) => status::access::credentials_repeated(),
        Denied::Credentials(CredentialsError::Invalid(_)) => status::access::credentials_invalid(),
        Denied::Credentials(CredentialsError::Expired) => status::access::credentials_expired(),
        Denied::Credentials(CredentialsError::KeysUnavailable(_)) => {
            status::access::keys_unavailable()
        }
        Denied::CredentialsMissing => status::access::credentials_missing(),
        Denied::MethodForbidden(_) | Denied::EntriesForbidden(_) => {
            status::access::method_forbidden(path, entries)
        }
    }
}

/// Holds the parts of a call against the policy, each as a call of its method: a path, and the part's
/// field in the request. All are judged before one is decoded.
///
/// # Errors
/// The parts that the caller may not have: those of the first method that is refused.
pub fn judge_parts<'m>(
    context: &RequestContext,
    parts: impl IntoIterator<Item = (&'m str, String)>,
) -> Result<(), Status> {
    let Some(control) = &context.control else { return Ok(()) };
    let tell = |denied: &Denied, path: &str, only_reported: bool| {
        let certificate = context.principal.as_ref().and_then(|it| it.peer.as_deref());
        let (peer, request_id) = (context.peer, &*context.request_id);
        tell(
            denied,
            &RefusedPart { certificate, peer, path, entries: None, request_id, only_reported },
        );
    };
    let mut refused: Option<(Denied, &str, Vec<FieldViolation>)> = None;
    for (path, field) in parts {
        match control.judge_part(context.principal.as_ref(), path) {
            Ok(None) => {}
            Ok(Some(denied)) => tell(&denied, path, true),
            Err(denied) => match &mut refused {
                None => refused = Some((denied, path, vec![violation(field)])),
                Some((_, first, fields)) if *first == path => fields.push(violation(field)),
                Some(_) => {}
            },
        }
    }
    let Some((denied, path, fields)) = refused else { return Ok(()) };
    tell(&denied, path, false);
    Err(status_of(&denied, path, &fields))
}

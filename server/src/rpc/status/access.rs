//! The errors of callers that may not do what they ask for.
//!
//! The first three have one message: what is wrong with credentials is for the log alone.

use bookstore_store::FieldViolation;
use tonic::{Code, Status};

use super::{ErrorReason, MetadataError, RETRY_LATER, RichStatus, metadata};

/// The header that credentials stand in.
const AUTHORIZATION: &str = "authorization";

fn unauthenticated(reason: ErrorReason) -> Status {
    let message = "the call needs credentials that are right and in force";
    RichStatus::new(Code::Unauthenticated, reason, message).with("scheme", "Bearer").into_status()
}

/// A call without credentials, of a method that needs some.
pub fn credentials_missing() -> Status {
    unauthenticated(ErrorReason::CredentialsMissing)
}

/// Credentials that are wrong in any way.
pub fn credentials_invalid() -> Status {
    unauthenticated(ErrorReason::CredentialsInvalid)
}

/// Credentials that were right and have expired: the caller renews them.
pub fn credentials_expired() -> Status {
    unauthenticated(ErrorReason::CredentialsExpired)
}

/// More than one `authorization`.
pub fn credentials_repeated() -> Status {
    metadata(&MetadataError::Invalid(AUTHORIZATION, "must stand once".into()))
}

/// Keys that would verify the credentials and were never read.
pub fn keys_unavailable() -> Status {
    let message = "the keys that verify the credentials can't be read yet";
    RichStatus::new(Code::Unavailable, ErrorReason::KeysUnavailable, message)
        .retry_after(RETRY_LATER)
        .into_status()
}

/// A method that the policy doesn't let the caller call. `entries` are the entries that stand for
/// it, if it isn't the call's own.
pub fn method_forbidden(path: &str, entries: &[FieldViolation]) -> Status {
    let message = "the caller may not call this method";
    let method = path.trim_start_matches('/');
    RichStatus::new(Code::PermissionDenied, ErrorReason::MethodForbidden, message)
        .with("method", method)
        .at(entries)
        .into_status()
}

//! Why credentials are refused. Callers learn little of it; the log and the metrics learn the cause.

use std::sync::Arc;

use thiserror::Error;

/// Why credentials prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// There is more than one `authorization` value, so it isn't clear whose call it is.
    #[error("authorization must stand once")]
    Repeated,
    /// They are wrong.
    #[error("the credentials are wrong: {0}")]
    Invalid(InvalidCause),
    /// They were right and have expired.
    #[error("the credentials have expired")]
    Expired,
    /// The keys that would verify them could not be read yet.
    #[error("the keys of the issuer {0} could not be read yet")]
    KeysUnavailable(Arc<str>),
}

/// What is wrong with credentials. The text stands in the log and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum InvalidCause {
    /// Another scheme than Bearer (RFC 6750, 2.1), or another form: one space, then the token.
    #[error("scheme")]
    Scheme,
    /// More than 8 KiB.
    #[error("too_long")]
    TooLong,
    /// Neither a static token nor a JSON Web Token.
    #[error("malformed")]
    Malformed,
    /// No static token of this name and this secret.
    #[error("unknown_token")]
    UnknownToken,
    /// The policy trusts no issuer of the name in the claim `iss`.
    #[error("issuer")]
    Issuer,
    /// An algorithm that the issuer's keys don't have.
    #[error("algorithm")]
    Algorithm,
    /// An extension that has to be understood (RFC 7515, 4.1.11).
    #[error("critical")]
    Critical,
    /// A token of another type.
    #[error("type")]
    Type,
    /// No key of the issuer has the token's `kid`.
    #[error("unknown_key")]
    UnknownKey,
    /// A key of the issuer didn't sign it.
    #[error("signature")]
    Signature,
    /// It isn't for this service.
    #[error("audience")]
    Audience,
    /// It has no `sub`, or one that can't be part of a principal's name.
    #[error("subject")]
    Subject,
    /// A time that is missing, no number, or later than now where it can't be.
    #[error("times")]
    Times,
    /// It lives longer than the policy allows.
    #[error("lifetime")]
    Lifetime,
    /// A client certificate whose name can't be that of a principal.
    #[error("certificate")]
    Certificate,
}

impl CredentialsError {
    /// They have another form than they must.
    pub const SCHEME: Self = Self::Invalid(InvalidCause::Scheme);
    /// They are a certificate that isn't accepted any more.
    pub const CERTIFICATE: Self = Self::Invalid(InvalidCause::Certificate);

    /// The cause as one word, for metrics.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Repeated => "repeated".into(),
            Self::Invalid(cause) => cause.to_string(),
            Self::Expired => "expired".into(),
            Self::KeysUnavailable(_) => "keys_unavailable".into(),
        }
    }
}

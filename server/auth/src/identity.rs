//! The caller of a call: which credentials prove it, and which roles it has.

use std::{sync::Arc, time::SystemTime};

/// A set of the policy's roles: bit `n` is the `n`th role in the order of the file. It is only
/// meaningful together with the policy that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleSet(pub u64);

/// What the credentials prove. The policy gives roles to it, so that a policy that is read again
/// applies to the calls that are open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A static token, by its name.
    Token {
        /// The name in the file of tokens and in `[tokens]` of the policy.
        name: Arc<str>,
    },
    /// A JSON Web Token (RFC 7519).
    Jwt {
        /// The name of its `[[jwt]]` table in the policy.
        issuer: Arc<str>,
        /// Its claim `sub`.
        subject: Arc<str>,
        /// The texts of the claim that the policy names with `roles_claim`.
        roles: Arc<[Arc<str>]>,
    },
    /// A client certificate: its one SPIFFE URI, or `dns:` and its one DNS name.
    Certificate {
        /// The URI, or `dns:` and the DNS name.
        name: Arc<str>,
    },
}

/// The caller of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who it is: `token:NAME`, `jwt:ISSUER#SUBJECT` or `cert:URI`, at most 256 bytes. Idempotency
    /// keys, page tokens and the log go by it.
    pub name: Arc<str>,
    /// What the credentials prove.
    pub identity: Identity,
    /// When the credentials expire; none if they don't.
    pub expires: Option<SystemTime>,
    /// The name of the connection's client certificate, if another credential made the principal.
    pub peer: Option<Arc<str>>,
}

impl RoleSet {
    /// Whether the sets have a role in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The roles of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

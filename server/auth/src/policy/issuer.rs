//! The issuers of JSON Web Tokens that a policy trusts: its `[[jwt]]` tables.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use crate::identity::RoleSet;

/// An issuer of JSON Web Tokens (RFC 7519), as a `[[jwt]]` table of the policy describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer {
    /// `name`: its name in principals (`jwt:NAME#SUBJECT`), in the log and in metrics.
    pub name: Arc<str>,
    /// `issuer`: what the claim `iss` must equal. No two tables have the same.
    pub issuer: String,
    /// `audience`: what the claim `aud` must equal or hold.
    pub audience: String,
    /// `keys_file` or `keys_url`: where its public keys are.
    pub keys: KeySource,
    /// `keys_refresh`: how often the keys at an address are read again. Default 10 minutes.
    pub keys_refresh: Duration,
    /// `algorithms`: the algorithms that its keys may have; at least one.
    pub algorithms: Vec<JwtAlgorithm>,
    /// `typ`: what the header's `typ` must equal, without regard to case. Without it the header
    /// may have none, `JWT` or `at+jwt` (RFC 9068).
    pub typ: Option<String>,
    /// `max_lifetime`: the longest time between the claims `iat` and `exp`. Default 24 hours.
    pub max_lifetime: Duration,
    /// `roles_claim`: the claim with the texts that `roles` maps. A claim of this whole name comes
    /// first; otherwise the text is the path to a claim, with dots between: `realm_access.roles`.
    pub roles_claim: Option<String>,
    /// `roles`: the policy's roles by the texts of `roles_claim`.
    pub roles: HashMap<String, RoleSet>,
    /// `subjects`: the policy's roles by the claim `sub`.
    pub subjects: HashMap<String, RoleSet>,
}

/// Where the public keys of an issuer are: a JSON Web Key Set (RFC 7517, 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file, which is read again when it changes.
    File(PathBuf),
    /// An `https` address.
    Url {
        /// `keys_url`: the address.
        url: String,
        /// `keys_ca_file`: the authorities (PEM) that alone may certify its server; without it those
        /// that Mozilla trusts.
        authorities: Option<PathBuf>,
    },
}

/// An algorithm of signatures (RFC 7518, 3.1, and RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// EdDSA, with the curve Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    /// All that a policy may name.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// Its name in the header `alg` and in the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name, with regard to case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

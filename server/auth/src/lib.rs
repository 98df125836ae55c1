//! Who calls, and what the policy lets callers do. No part of it knows a service, a database or a
//! transport: the server passes in what a connection and a call's metadata say.

mod certificate;
pub mod credentials;
mod identity;
pub mod policy;

pub use self::{
    certificate::{Certificate, MalformedCertificate, PeerName, next_revocation_list},
    identity::{Identity, Principal, RoleSet},
    policy::{JwtAlgorithm, JwtIssuer, KeySource, Policy, PolicyError, Verdict},
};

//! Who calls, and what the policy lets callers do. No part of it knows a service, a database or a
//! transport: the server passes in what a connection and a call's metadata say.

pub mod credentials;
mod identity;
pub mod policy;

pub use self::{
    identity::{Identity, Principal, RoleSet},
    policy::{JwtAlgorithm, JwtIssuer, KeySource, Policy, PolicyError, Verdict},
};

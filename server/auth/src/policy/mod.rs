//! The policy: which roles the callers have, and which roles may call which method. It is one file
//! (TOML), and denies what it doesn't allow.

mod cases;
mod error;
mod issuer;
mod judge;
mod methods;
mod needed;
mod operators;
mod read;
mod read_issuer;
mod rule;
mod rule_editor;
mod seen;
mod show;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tool_tests;

pub use self::{
    cases::CaseReport,
    error::PolicyError,
    issuer::{JwtAlgorithm, JwtIssuer, KeySource},
    judge::Policy,
    methods::{MethodName, PolicyMethod},
    needed::VerifiedCredentials,
    operators::Operators,
    rule::{MOST_ROLES, RESERVED, Role, Rule, Verdict},
    seen::{SeenCall, SeenCaller, SeenCalls},
    table::is_name,
};

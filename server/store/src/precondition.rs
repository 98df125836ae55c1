//! Preconditions: rules of a resource about rows that only its own operation can check.

use crate::violation::FieldViolation;

/// A precondition of a resource that the rows don't meet.
///
/// The resource makes it, with its reason and its message, beside the rule itself. The store rolls
/// the transaction back and passes the precondition on; it is independent of the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Precondition {
    /// The identifier that programs read: `google.rpc.ErrorInfo.reason` (AIP-193), in
    /// UPPER_SNAKE_CASE, at most 63 characters. An enum of the contract has it as a value.
    pub reason: &'static str,
    /// The message, a phrase without a full stop.
    pub message: &'static str,
    /// The fields of the request that violate it. May be empty.
    pub violations: Vec<FieldViolation>,
    /// Names and values that programs may need: the entries of `google.rpc.ErrorInfo.metadata`.
    pub facts: Vec<(&'static str, String)>,
}

impl Precondition {
    /// A precondition without violations and facts.
    pub const fn new(reason: &'static str, message: &'static str) -> Self {
        Self { reason, message, violations: Vec::new(), facts: Vec::new() }
    }

    /// The same precondition with the fields of the request that violate it.
    #[must_use]
    pub fn at(self, violations: Vec<FieldViolation>) -> Self {
        Self { violations, ..self }
    }

    /// The same precondition with one more fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }
}

//! The rules of the operators' address.

use super::rule::Rule;

/// The rules of the section `[operators]`: which callers may read and change what by the admin
/// address. A rule that the section lacks is `nobody`: it admits no caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// `see`: reads the operators' address.
    pub see: Rule,
    /// `change`: changes something by it, such as the log's level.
    pub change: Rule,
    /// `diagnose`: learns from answers to calls which host served them.
    pub diagnose: Rule,
}

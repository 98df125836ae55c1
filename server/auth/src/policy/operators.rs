//! The rules of the operators' address.

use super::rule::Rule;

/// Who may ask the operators' address what: the section `[operators]`. What it lacks is for
/// nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// `see`: reads the operators' address.
    pub see: Rule,
    /// `change`: changes something by it, such as the log's level.
    pub change: Rule,
    /// `diagnose`: learns from answers to calls which host served them.
    pub diagnose: Rule,
}

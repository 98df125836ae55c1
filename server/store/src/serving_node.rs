//! The node that answers a call.

use std::sync::Arc;

/// The node that answers a call, or on which it has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingNode {
    /// Host and port; the file of a SQLite database. For operators alone: callers must not learn
    /// the addresses of nodes.
    pub name: Arc<str>,
    /// Whether it was chosen as the primary. A single node always is.
    pub is_primary: bool,
}

impl ServingNode {
    /// What callers learn of it: `primary` or `replica`.
    pub fn role(&self) -> &'static str {
        match self.is_primary {
            true => "primary",
            false => "replica",
        }
    }
}

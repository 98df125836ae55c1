//! The values of metadata `consistency`.

/// How fresh the node that answers a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It has what the same connection has written or read.
    #[default]
    Session,
    /// It has every commit: the primary.
    Strong,
    /// Any position.
    Eventual,
    /// It has the token's position.
    AtLeast,
}

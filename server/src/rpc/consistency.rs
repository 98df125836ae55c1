//! The values of metadata `consistency`.

/// How fresh a node must be that answers a read, as its caller says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It has what the same connection has written or read.
    #[default]
    Session,
    /// It has everything.
    Strong,
    /// It has what it has.
    Eventual,
    /// It has what the token says.
    AtLeast,
}

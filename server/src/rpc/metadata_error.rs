//! Why metadata of a call is refused.

/// Metadata that is refused; both variants name the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Its value isn't allowed; the second text says which values are.
    Invalid(&'static str, String),
    /// It asks for something that this version doesn't support.
    NotSupported(&'static str),
}

//! A field of a request and what is wrong with its value.

/// A field of the request and what is wrong with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path in the request, such as `requests[3].book.title`.
    pub field: String,
    /// What is wrong, as a phrase that follows the field's name: `must not be empty`.
    pub description: String,
}

impl FieldViolation {
    /// A violation at a field.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

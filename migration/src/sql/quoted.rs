//! Names and texts in statements.

/// An identifier in double quotes, as both engines take it (PostgreSQL, 4.1.1. Identifiers and Key
/// Words).
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal, as both engines take it (PostgreSQL, 4.1.2.1. String Constants).
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

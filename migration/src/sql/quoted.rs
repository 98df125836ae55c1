//! Names in statements.

/// An identifier in double quotes, as both engines take it (PostgreSQL, 4.1.1. Identifiers and Key
/// Words).
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

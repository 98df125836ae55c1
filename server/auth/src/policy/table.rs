//! Reads tables of TOML, with an error for all that has another form.

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::error::{Errors, hint};

/// A key with its place.
pub(super) type TableKey<'t> = &'t Spanned<DeString<'t>>;

/// A value with its place.
pub(super) type Value<'t> = &'t Spanned<DeValue<'t>>;

/// The entries of a table, in the order of the file.
pub(super) fn entries<'t>(table: &'t DeTable<'t>) -> Vec<(TableKey<'t>, Value<'t>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, value)| (key.span().start, value.span().start));
    entries
}

/// The entries of a section.
pub(super) fn section<'t>(
    key: TableKey<'t>,
    value: Value<'t>,
    errors: &mut Errors<'_>,
) -> Vec<(TableKey<'t>, Value<'t>)> {
    match value.get_ref().as_table() {
        Some(table) => entries(table),
        None => {
            errors.on(key, format!("{} must be a section", key.get_ref()));
            Vec::new()
        }
    }
}

/// A text.
pub(super) fn text<'t>(
    key: TableKey<'t>,
    value: Value<'t>,
    errors: &mut Errors<'_>,
) -> Option<&'t str> {
    match value.get_ref().as_str() {
        Some("") => {
            errors.on(value, format!("{} must not be empty", key.get_ref()));
            None
        }
        Some(text) => Some(text),
        None => {
            let found = value.get_ref().type_str();
            errors.on(value, format!("{} must be a text in quotes, found: {found}", key.get_ref()));
            None
        }
    }
}

/// Adds an error for a key that isn't known. `of` is the section.
pub(super) fn unknown_key(key: TableKey<'_>, of: &str, known: &[&str], errors: &mut Errors<'_>) {
    let name = key.get_ref();
    errors.on(key, format!("{of} has no key {name}{}", hint(name, known.iter().copied())));
}

/// Whether a text can be a name of the policy: lower-case letters, digits and dashes, with a letter
/// first, 64 characters at most. So it can stand in a token, in the log and beside other names.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|letter| letter.is_ascii_lowercase());
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    first && text.len() <= 64 && text.chars().all(plain)
}

/// What [`is_name`] asks for.
pub(super) const NAME: &str =
    "must be lower-case letters, digits and dashes, with a letter first, 64 characters at most";

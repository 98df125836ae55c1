//! Ranges and paths as violations show them.

use std::fmt::Write as _;

/// A range of lengths.
pub(super) fn range(least: u64, most: u64) -> String {
    match (least, most) {
        (_, u64::MAX) => format!("at least {least}"),
        (0, _) => format!("at most {most}"),
        _ => format!("{least} to {most}"),
    }
}

/// A range of numbers.
pub(super) fn range_of_numbers(least: i64, most: i64) -> String {
    match (least, most) {
        (_, i64::MAX) => format!("at least {least}"),
        (_, most) if most == i64::from(i32::MAX) => format!("at least {least}"),
        _ => format!("from {least} to {most}"),
    }
}

/// The path of a field in the message at a path, which is empty for the request.
pub(super) fn join(path: &str, name: &str) -> String {
    let mut joined = String::with_capacity(path.len() + name.len() + 1);
    let dot = if path.is_empty() { "" } else { "." };
    // Writing to a String can't fail.
    let _ = write!(joined, "{path}{dot}{name}");
    joined
}

//! A column of a CREATE TABLE. A constraint of a column that could also be written at the table is
//! added as a constraint of the table.

use super::{
    super::{Catalog, ObjectKey},
    constraint::{check, conflict, foreign_key, named},
    cursor::Cursor,
};

/// What begins a constraint of a column, and so ends its type.
const CONSTRAINTS: &[&str] = &[
    "constraint",
    "primary",
    "not",
    "null",
    "unique",
    "check",
    "default",
    "collate",
    "references",
    "generated",
    "as",
];

/// Adds a column with its constraints.
pub(super) fn add(catalog: &mut Catalog, table: &str, position: usize, part: &mut Cursor<'_>) {
    let Some(name) = part.name() else { return };
    let key = ObjectKey::new("column", table, &name);
    catalog.set(&key, "position", position.to_string());
    let mut words = String::new();
    while !part.is_done() && !CONSTRAINTS.iter().any(|word| part.is(word)) {
        match part.bracketed() {
            Some(inside) => words.push_str(&format!("({inside})")),
            None => {
                let blank = if words.is_empty() { "" } else { " " };
                words.push_str(blank);
                words.push_str(part.word().unwrap_or_default());
            }
        }
    }
    catalog.set(&key, "type", words);
    catalog.set(&key, "null", "NULL");
    let mut given = None;
    while !part.is_done() {
        if part.eat("constraint") {
            given = part.name();
            continue;
        }
        if !constraint(catalog, &key, given.take(), part) {
            // A construct that is unknown to this reader must not be ignored silently.
            catalog.set(&key, "further", part.rest());
        }
    }
}

/// Reads one constraint; returns whether it was one.
fn constraint(
    catalog: &mut Catalog,
    key: &ObjectKey,
    given: Option<String>,
    part: &mut Cursor<'_>,
) -> bool {
    let (table, name) = (key.table.as_str(), key.name.as_str());
    if part.eat("not null") {
        catalog.set(key, "null", "NOT NULL");
        if part.eat("on conflict") {
            let what = part.word().unwrap_or_default().to_uppercase();
            if what != "ABORT" {
                catalog.set(key, "null_conflict", what);
            }
        }
    } else if part.eat("null") {
    } else if part.eat("primary key") {
        let primary = ObjectKey::new("primary key", table, &named(given, table, name, "pkey"));
        let descending = part.eat("desc");
        part.eat("asc");
        catalog.set(
            &primary,
            "columns",
            format!("{name}{}", if descending { " DESC" } else { "" }),
        );
        conflict(catalog, &primary, part);
        if part.eat("autoincrement") {
            catalog.set(&primary, "numbers", "AUTOINCREMENT");
        }
    } else if part.eat("unique") {
        let unique = ObjectKey::new("unique", table, &named(given, table, name, "key"));
        catalog.set(&unique, "columns", name);
        conflict(catalog, &unique, part);
    } else if part.eat("check") {
        check(catalog, table, given, part.bracketed().unwrap_or_default());
    } else if part.eat("default") {
        let value = default(part);
        catalog.set(key, "default", value);
    } else if part.eat("collate") {
        let collation = part.name().unwrap_or_default();
        if collation != "binary" {
            catalog.set(key, "collation", collation);
        }
    } else if part.eat("references") {
        foreign_key(catalog, table, given, name, part);
    } else if part.eat("generated always as") || part.eat("as") {
        catalog.set(key, "generated", part.bracketed().unwrap_or_default());
        let stored = part.eat("stored");
        part.eat("virtual");
        catalog.set(key, "storage_of_generated", if stored { "STORED" } else { "VIRTUAL" });
    } else {
        return false;
    }
    true
}

/// A default: an expression in brackets, or a constant that may have a sign.
fn default(part: &mut Cursor<'_>) -> String {
    if let Some(inside) = part.bracketed() {
        return format!("({inside})");
    }
    let mut text = String::new();
    if part.is_symbol("-") || part.is_symbol("+") {
        text.push_str(part.word().unwrap_or_default());
    }
    text.push_str(part.word().unwrap_or_default());
    text
}

//! An index from its CREATE INDEX: its keys and its predicate.

use super::{
    super::{Catalog, ObjectKey},
    cursor::Cursor,
};
use crate::expression::{Engine, tokens};

/// Adds an index. Each key column is a line: what, then a tab and how.
pub(super) fn add(catalog: &mut Catalog, table: &str, name: &str, sql: &str) {
    let key = ObjectKey::new("index", table, name);
    catalog.set(&key, "sql", sql);
    let mut cursor = Cursor::new(sql);
    cursor.eat("create");
    if cursor.eat("unique") {
        catalog.set(&key, "uniqueness", "UNIQUE");
    }
    cursor.eat("index");
    cursor.eat("if not exists");
    cursor.qualified_name();
    cursor.eat("on");
    cursor.name();
    let mut inside = Cursor::new(cursor.bracketed().unwrap_or_default());
    let mut keys = Vec::new();
    while !inside.is_done() {
        keys.push(column(catalog, table, inside.up_to_comma()));
        inside.eat_symbol(",");
    }
    catalog.set(&key, "keys", keys.join("\n"));
    if cursor.eat("where") {
        catalog.set(&key, "predicate", cursor.rest());
    }
}

/// A key column: its direction and its collation, where it isn't the column's own.
fn column(catalog: &Catalog, table: &str, definition: &str) -> String {
    let words = tokens(Engine::Sqlite, definition);
    let mut end = words.len();
    let mut descending = false;
    if words.last().is_some_and(|word| word.is("asc") || word.is("desc")) {
        end -= 1;
        descending = words[end].is("desc");
    }
    let mut collation = None;
    if end >= 3 && words[end - 2].is("collate") {
        collation = words[end - 1].name().map(str::to_lowercase);
        end -= 2;
    }
    let what = match end {
        0 => String::new(),
        _ => definition.get(..words[end - 1].span.end).unwrap_or_default().to_owned(),
    };
    let own = match words.first().and_then(|word| word.name()) {
        Some(name) if end == 1 => {
            catalog.facet(&ObjectKey::new("column", table, &name.to_lowercase()), "collation")
        }
        _ => None,
    };
    let mut how = String::new();
    if let Some(collation) = collation
        && collation != own.unwrap_or("binary")
    {
        how.push_str(&format!(" COLLATE {collation}"));
    }
    if descending {
        how.push_str(" DESC");
    }
    format!("{what}\t{how}")
}

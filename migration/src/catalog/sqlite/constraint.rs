//! What a constraint of a table and one of a column have in common.

use super::{
    super::{Catalog, ObjectKey},
    cursor::Cursor,
};

/// Adds a CHECK. One without a name is identified by its text.
pub(super) fn check(catalog: &mut Catalog, table: &str, given: Option<String>, expression: &str) {
    let name = given.unwrap_or_else(|| format!("CHECK ({expression})"));
    let key = ObjectKey::new("check", table, &name);
    catalog.set(&key, "expression", expression);
}

/// Adds a foreign key; the cursor stands behind REFERENCES.
pub(super) fn foreign_key(
    catalog: &mut Catalog,
    table: &str,
    given: Option<String>,
    columns: &str,
    part: &mut Cursor<'_>,
) {
    let key = ObjectKey::new("foreign key", table, &named(given, table, columns, "fkey"));
    catalog.set(&key, "columns", columns);
    catalog.set(&key, "references", part.name().unwrap_or_default());
    if let Some(referenced) = part.bracketed() {
        catalog.set(&key, "referenced_columns", key_columns(referenced));
    }
    loop {
        let facet = match () {
            () if part.eat("on delete") => Some("on_delete"),
            () if part.eat("on update") => Some("on_update"),
            () => None,
        };
        if let Some(facet) = facet {
            let action = action(part);
            if action != "NO ACTION" {
                catalog.set(&key, facet, action);
            }
        } else if part.eat("match") {
            // SQLite parses MATCH and ignores it.
            part.word();
        } else if part.eat("not deferrable") {
            part.eat("initially deferred");
            part.eat("initially immediate");
        } else if part.eat("deferrable") {
            if part.eat("initially deferred") {
                catalog.set(&key, "deferrable", "DEFERRABLE INITIALLY DEFERRED");
            } else {
                part.eat("initially immediate");
            }
        } else {
            return;
        }
    }
}

fn action(part: &mut Cursor<'_>) -> String {
    for words in ["set null", "set default", "no action"] {
        if part.eat(words) {
            return words.to_uppercase();
        }
    }
    part.word().unwrap_or_default().to_uppercase()
}

/// `ON CONFLICT IGNORE` and its kin, where they aren't the default.
pub(super) fn conflict(catalog: &mut Catalog, key: &ObjectKey, part: &mut Cursor<'_>) {
    if part.eat("on conflict") {
        let what = part.word().unwrap_or_default().to_uppercase();
        if what != "ABORT" {
            catalog.set(key, "conflict", what);
        }
    }
}

/// A constraint's name: the given one, or what PostgreSQL would call it, marked as not given.
pub(super) fn named(given: Option<String>, table: &str, columns: &str, ending: &str) -> String {
    let words = columns.replace(", ", "_");
    given.unwrap_or_else(|| match ending {
        "pkey" => format!("unnamed {table}_pkey"),
        _ => format!("unnamed {table}_{words}_{ending}"),
    })
}

/// The columns of a key: names in lower case, with what else is said of each.
pub(super) fn key_columns(inside: &str) -> String {
    let mut cursor = Cursor::new(inside);
    let mut columns = Vec::new();
    while !cursor.is_done() {
        let definition = cursor.up_to_comma();
        cursor.eat_symbol(",");
        let mut part = Cursor::new(definition);
        let mut column = part.name().unwrap_or_default();
        if part.eat("collate") {
            let collation = part.name().unwrap_or_default();
            if collation != "binary" {
                column.push_str(&format!(" COLLATE {collation}"));
            }
        }
        if part.eat("desc") {
            column.push_str(" DESC");
        }
        columns.push(column);
    }
    columns.join(", ")
}

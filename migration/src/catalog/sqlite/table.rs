//! A table from its CREATE TABLE: columns, and constraints wherever they are written.

use super::{
    super::{Catalog, Key},
    columns,
    cursor::Cursor,
};

/// Adds a table with its columns and constraints.
pub(super) fn add(catalog: &mut Catalog, name: &str, sql: &str) {
    let key = Key::new("table", "", name);
    catalog.set(&key, "sql", sql);
    let mut cursor = Cursor::new(sql);
    while !cursor.is_done() && !cursor.is("table") {
        cursor.word();
    }
    cursor.eat("table");
    cursor.eat("if not exists");
    cursor.qualified_name();
    if cursor.eat("using") {
        catalog.set(&key, "form", "virtual table");
        catalog.set(&key, "definition", cursor.rest());
        return;
    }
    catalog.set(&key, "form", "table");
    let Some(inside) = cursor.bracketed() else {
        catalog.set(&key, "definition", sql);
        return;
    };
    let mut options: Vec<String> =
        cursor.rest().split(',').map(|option| option.trim().to_uppercase()).collect();
    options.retain(|option| !option.is_empty());
    options.sort();
    for option in options {
        let facet = if option == "STRICT" { "strictness" } else { "rowid" };
        catalog.set(&key, facet, option.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let mut cursor = Cursor::new(inside);
    let mut position = 0;
    while !cursor.is_done() {
        let definition = cursor.up_to_comma();
        cursor.eat_symbol(",");
        let mut part = Cursor::new(definition);
        if is_constraint(&part) {
            while !part.is_done() {
                if !constraint(catalog, name, &mut part) {
                    break;
                }
            }
        } else {
            position += 1;
            columns::add(catalog, name, position, &mut part);
        }
    }
}

/// Whether a part of the table is a constraint of it. Column names may be keywords in quotes.
fn is_constraint(part: &Cursor<'_>) -> bool {
    ["constraint", "primary", "unique", "check", "foreign"].into_iter().any(|word| part.is(word))
}

/// Reads a constraint of the table.
fn constraint(catalog: &mut Catalog, table: &str, part: &mut Cursor<'_>) -> bool {
    let given = if part.eat("constraint") { part.name() } else { None };
    if part.eat("primary key") {
        let columns = key_columns(part.bracketed().unwrap_or_default());
        let key = Key::new("primary key", table, &named(given, table, &columns, "pkey"));
        catalog.set(&key, "columns", columns);
        conflict(catalog, &key, part);
        true
    } else if part.eat("unique") {
        let columns = key_columns(part.bracketed().unwrap_or_default());
        let key = Key::new("unique", table, &named(given, table, &columns, "key"));
        catalog.set(&key, "columns", columns);
        conflict(catalog, &key, part);
        true
    } else if part.eat("check") {
        let expression = part.bracketed().unwrap_or_default();
        check(catalog, table, given, expression);
        // SQLite reads a conflict clause behind a CHECK and does nothing with it.
        if part.eat("on conflict") {
            part.word();
        }
        true
    } else if part.eat("foreign key") {
        let columns = key_columns(part.bracketed().unwrap_or_default());
        part.eat("references");
        foreign_key(catalog, table, given, &columns, part);
        true
    } else {
        false
    }
}

/// Adds a CHECK. One without a name is known by its text.
pub(super) fn check(catalog: &mut Catalog, table: &str, given: Option<String>, expression: &str) {
    let name = given.unwrap_or_else(|| format!("CHECK ({expression})"));
    let key = Key::new("check", table, &name);
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
    let key = Key::new("foreign key", table, &named(given, table, columns, "fkey"));
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
            // SQLite reads MATCH and does nothing with it.
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
pub(super) fn conflict(catalog: &mut Catalog, key: &Key, part: &mut Cursor<'_>) {
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

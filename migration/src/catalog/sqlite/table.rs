//! A table from its CREATE TABLE: columns, and constraints wherever they are written.

use super::{
    super::{Catalog, ObjectKey},
    columns,
    constraint::{check, conflict, foreign_key, key_columns, named},
    cursor::Cursor,
};

/// Adds a table with its columns and constraints.
pub(super) fn add(catalog: &mut Catalog, name: &str, sql: &str) {
    let key = ObjectKey::new("table", "", name);
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
        let key = ObjectKey::new("primary key", table, &named(given, table, &columns, "pkey"));
        catalog.set(&key, "columns", columns);
        conflict(catalog, &key, part);
        true
    } else if part.eat("unique") {
        let columns = key_columns(part.bracketed().unwrap_or_default());
        let key = ObjectKey::new("unique", table, &named(given, table, &columns, "key"));
        catalog.set(&key, "columns", columns);
        conflict(catalog, &key, part);
        true
    } else if part.eat("check") {
        let expression = part.bracketed().unwrap_or_default();
        check(catalog, table, given, expression);
        // SQLite parses a conflict clause after a CHECK and ignores it.
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

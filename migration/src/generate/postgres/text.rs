//! Names, constants and comments, as SQL has them.

use crate::catalog::Key;

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `COMMENT ON`, or its end.
pub(super) fn comment(key: &Key, text: Option<&str>) -> String {
    let (name, table) = (quoted(&key.name), quoted(&key.table));
    let object = match key.kind.as_str() {
        "column" => format!("COLUMN {table}.{name}"),
        "table" => format!("TABLE {name}"),
        "index" => format!("INDEX {name}"),
        "view" => format!("VIEW {name}"),
        "sequence" => format!("SEQUENCE {name}"),
        "type" => format!("TYPE {name}"),
        "function" => format!("FUNCTION {}", signature(&key.name)),
        "trigger" => format!("TRIGGER {name} ON {table}"),
        "rule" => format!("RULE {name} ON {table}"),
        "policy" => format!("POLICY {name} ON {table}"),
        _ => format!("CONSTRAINT {name} ON {table}"),
    };
    format!("COMMENT ON {object} IS {}", text.map_or("NULL".to_owned(), literal))
}

/// A function's name in quotes with its arguments.
pub(super) fn signature(function: &str) -> String {
    let name = bare(function);
    format!("{}{}", quoted(name), &function[name.len()..])
}

/// A function's name without its arguments.
pub(super) fn bare(function: &str) -> &str {
    function.split('(').next().unwrap_or(function)
}

//! Names, constants and comments, as SQL has them.

pub(super) use crate::sql::{literal, quoted};
use crate::{
    catalog::{Catalog, ObjectKey},
    drift::bare,
};

/// `COMMENT ON`, or its end.
pub(super) fn comment(catalog: &Catalog, key: &ObjectKey, text: Option<&str>) -> String {
    let (name, table) = (quoted(&key.name), quoted(&key.table));
    let object = match key.kind.as_str() {
        "view" => match catalog.facet(key, "form") {
            Some("materialized view") => format!("MATERIALIZED VIEW {name}"),
            _ => format!("VIEW {name}"),
        },
        "column" => format!("COLUMN {table}.{name}"),
        "table" => format!("TABLE {name}"),
        "index" => format!("INDEX {name}"),
        "sequence" => format!("SEQUENCE {name}"),
        "type" => format!("TYPE {name}"),
        "function" => format!("ROUTINE {}", signature(&key.name)),
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

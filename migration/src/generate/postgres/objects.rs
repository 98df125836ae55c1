//! Objects of PostgreSQL beside tables: code, views, sequences, types.

use super::{
    conditions::unless,
    text::{literal, quoted, signature},
};
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    generate::Pair,
};

/// The steps that make an object, each with its way back; none of a kind that isn't known, so that
/// the proof tells that it is still there.
pub(super) fn pairs(
    catalog: &Catalog,
    key: &ObjectKey,
    facets: &Facets,
    tolerant: bool,
) -> Vec<Pair> {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let (name, table) = (quoted(&key.name), quoted(&key.table));
    let (maybe_not, maybe) = if tolerant { ("IF NOT EXISTS ", "IF EXISTS ") } else { ("", "") };
    match key.kind.as_str() {
        "trigger" | "rule" | "policy" => {
            let kind = key.kind.to_uppercase();
            let mut text = get("definition").unwrap_or_default().trim_end_matches(';').to_owned();
            if kind == "POLICY" {
                text = format!("CREATE POLICY {name} ON {table} AS {text}");
            }
            if tolerant {
                text = format!("DROP {kind} IF EXISTS {name} ON {table};\n{text}");
            }
            if let Some(how) = get("state") {
                text = format!("{text};\n{}", state(key, Some(how)));
            }
            vec![Pair::sql(text, format!("DROP {kind} {maybe}{name} ON {table}"))]
        }
        "function" => {
            let text = get("sql").unwrap_or_default().trim().to_owned();
            vec![Pair::sql(text, format!("DROP ROUTINE {maybe}{}", signature(&key.name)))]
        }
        "view" => vec![view(key, facets, tolerant)],
        "sequence" => {
            let unlogged = catalog.facet(key, "persistence").map_or("", |_| "UNLOGGED ");
            let options = sequence(get("sequence").unwrap_or_default());
            vec![Pair::sql(
                format!("CREATE {unlogged}SEQUENCE {maybe_not}{name} {options}"),
                format!("DROP SEQUENCE {maybe}{name}"),
            )]
        }
        "extension" => vec![Pair::sql(
            format!("CREATE EXTENSION {maybe_not}{name}"),
            format!("DROP EXTENSION {maybe}{name}"),
        )],
        "type" => type_pairs(key, facets, tolerant),
        _ => Vec::new(),
    }
}

fn view(key: &ObjectKey, facets: &Facets, tolerant: bool) -> Pair {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let name = quoted(&key.name);
    let is_stored = get("form") == Some("materialized view");
    let kind = if is_stored { "MATERIALIZED VIEW" } else { "VIEW" };
    let (create, maybe) = match (tolerant, is_stored) {
        (true, true) => (format!("CREATE {kind} IF NOT EXISTS"), "IF EXISTS "),
        (true, false) => (format!("CREATE OR REPLACE {kind}"), "IF EXISTS "),
        (false, _) => (format!("CREATE {kind}"), ""),
    };
    let body = get("definition").unwrap_or_default().trim().trim_end_matches(';');
    let options = get("options").map(|options| format!(" WITH ({})", options.replace(' ', ", ")));
    let options = options.unwrap_or_default();
    let data = get("populated").map_or("", |_| "\nWITH NO DATA");
    let text = format!("{create} {name}{options} AS\n{body}{data}");
    Pair::sql(text, format!("DROP {kind} {maybe}{name}"))
}

/// The options of a sequence as CREATE SEQUENCE and GENERATED AS IDENTITY take them.
pub(super) fn sequence(text: &str) -> String {
    let text = text.replace("START ", "START WITH ").replace("INCREMENT ", "INCREMENT BY ");
    text.replace("MIN ", "MINVALUE ").replace("MAX ", "MAXVALUE ")
}

/// Whether a trigger or a rule fires: `DISABLED`, `REPLICA`, `ALWAYS`, or as they are made.
pub(super) fn state(key: &ObjectKey, state: Option<&str>) -> String {
    let how = match state {
        Some("DISABLED") => "DISABLE",
        Some("REPLICA") => "ENABLE REPLICA",
        Some(_) => "ENABLE ALWAYS",
        None => "ENABLE",
    };
    let kind = key.kind.to_uppercase();
    format!("ALTER TABLE {} {how} {kind} {}", quoted(&key.table), quoted(&key.name))
}

fn type_pairs(key: &ObjectKey, facets: &Facets, tolerant: bool) -> Vec<Pair> {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let name = quoted(&key.name);
    let maybe = if tolerant { "IF EXISTS " } else { "" };
    let (make, kind) = match get("form") {
        Some("enum") => {
            (format!("CREATE TYPE {name} AS ENUM ({})", get("labels").unwrap_or_default()), "TYPE")
        }
        Some("composite type") => {
            (format!("CREATE TYPE {name} AS ({})", get("attributes").unwrap_or_default()), "TYPE")
        }
        Some("range") => (
            format!("CREATE TYPE {name} AS RANGE (SUBTYPE = {})", get("type").unwrap_or_default()),
            "TYPE",
        ),
        Some("domain") => {
            let mut text = format!("CREATE DOMAIN {name} AS {}", get("type").unwrap_or_default());
            if let Some(collation) = get("collation") {
                text.push_str(&format!(" COLLATE {collation}"));
            }
            if let Some(default) = get("default") {
                text.push_str(&format!(" DEFAULT {default}"));
            }
            if get("null").is_some() {
                text.push_str(" NOT NULL");
            }
            for check in get("checks").into_iter().flat_map(|checks| checks.split('\n')) {
                text.push_str(&format!(" CONSTRAINT {check}"));
            }
            (text, "DOMAIN")
        }
        _ => return Vec::new(),
    };
    let make = if tolerant {
        unless(&format!("to_regtype({}) IS NOT NULL", literal(&name)), &make)
    } else {
        make
    };
    vec![Pair::sql(make, format!("DROP {kind} {maybe}{name}"))]
}

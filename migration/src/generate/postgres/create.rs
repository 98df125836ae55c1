//! How an object of PostgreSQL is made, and how it goes.

use super::{
    columns,
    text::{comment, literal, quoted, signature},
};
use crate::{
    catalog::{Catalog, Facets, Key},
    generate::{Action, Answers, Pair},
};

/// The steps that make an object, each with its way back. `is_new` is of what belongs to a table
/// that is made in the same revision: nobody waits for its locks.
pub(super) fn pairs(catalog: &Catalog, key: &Key, answers: &Answers, is_new: bool) -> Vec<Pair> {
    let none = Facets::new();
    let facets = catalog.objects.get(key).unwrap_or(&none);
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let tolerant = answers.is_tolerant;
    let (name, table) = (quoted(&key.name), quoted(&key.table));
    let (maybe_not, maybe) = if tolerant { ("IF NOT EXISTS ", "IF EXISTS ") } else { ("", "") };
    let mut pairs = match key.kind.as_str() {
        "table" => {
            let text = create_table(catalog, key, maybe_not);
            let mut pair = Pair::sql(text, format!("DROP TABLE {maybe}{name}"));
            pair.down_loses = Some(format!("{} with its rows", key.name));
            vec![pair]
        }
        "column" => columns::add(catalog, key, answers),
        "index" => {
            let text = get("sql").unwrap_or_default();
            let after = text.find("INDEX ").map_or(0, |at| at + "INDEX ".len());
            let (before, rest) = text.split_at(after);
            if is_new {
                vec![Pair::sql(
                    format!("{before}{maybe_not}{rest}"),
                    format!("DROP INDEX {maybe}{name}"),
                )]
            } else {
                vec![Pair::of(
                    Action::Outside(format!("{before}CONCURRENTLY {maybe_not}{rest}")),
                    Action::Outside(format!("DROP INDEX CONCURRENTLY {maybe}{name}")),
                )]
            }
        }
        "primary key" | "unique" | "check" | "exclusion" | "foreign key" => {
            constraint(key, facets, tolerant, is_new)
        }
        "trigger" | "rule" => {
            let text = get("definition").unwrap_or_default().trim_end_matches(';');
            let kind = key.kind.to_uppercase();
            let drop = format!("DROP {kind} {maybe}{name} ON {table}");
            let text = if tolerant {
                format!("DROP {kind} IF EXISTS {name} ON {table};\n{text}")
            } else {
                text.to_owned()
            };
            vec![Pair::sql(text, drop)]
        }
        "policy" => {
            let definition = get("definition").unwrap_or_default();
            let drop = format!("DROP POLICY {maybe}{name} ON {table}");
            let make = format!("CREATE POLICY {name} ON {table} AS {definition}");
            let make = if tolerant {
                format!("DROP POLICY IF EXISTS {name} ON {table};\n{make}")
            } else {
                make
            };
            vec![Pair::sql(make, drop)]
        }
        "function" => {
            let text = get("sql").unwrap_or_default().trim().to_owned();
            let kind = if get("form") == Some("procedure") { "PROCEDURE" } else { "FUNCTION" };
            vec![Pair::sql(text, format!("DROP {kind} {maybe}{}", signature(&key.name)))]
        }
        "view" => {
            let kind =
                if get("form") == Some("materialized view") { "MATERIALIZED VIEW" } else { "VIEW" };
            let body = get("definition").unwrap_or_default().trim().trim_end_matches(';');
            let options =
                get("options").map(|options| format!(" WITH ({})", options.replace(' ', ", ")));
            let with = options.unwrap_or_default();
            let make = format!(
                "CREATE {kind} {maybe_not_view}{name}{with} AS\n{body}",
                maybe_not_view = if tolerant && kind != "VIEW" { maybe_not } else { "" }
            );
            let make = if tolerant && kind == "VIEW" {
                make.replacen("CREATE VIEW", "CREATE OR REPLACE VIEW", 1)
            } else {
                make
            };
            vec![Pair::sql(make, format!("DROP {kind} {maybe}{name}"))]
        }
        "sequence" => {
            let make = sequence(get("sequence").unwrap_or_default());
            let owned =
                get("owned_by").map(|owner| format!(" OWNED BY {owner}")).unwrap_or_default();
            vec![Pair::sql(
                format!("CREATE SEQUENCE {maybe_not}{name}{make}{owned}"),
                format!("DROP SEQUENCE {maybe}{name}"),
            )]
        }
        "extension" => {
            vec![Pair::sql(
                format!("CREATE EXTENSION {maybe_not}{name}"),
                format!("DROP EXTENSION {maybe}{name}"),
            )]
        }
        "type" => type_pairs(key, facets, tolerant),
        // A kind that nothing is known of: the proof tells that it is still there.
        _ => Vec::new(),
    };
    if let Some(text) = get("comment")
        && key.kind != "column"
        && !pairs.is_empty()
    {
        pairs.push(Pair::of(Action::Sql(comment(key, Some(text))), Action::Nothing));
    }
    pairs
}

fn sequence(text: &str) -> String {
    let text = text.replace(" START ", " START WITH ").replace(" INCREMENT ", " INCREMENT BY ");
    format!(" {}", text.replace(" MIN ", " MINVALUE ").replace(" MAX ", " MAXVALUE "))
}

fn type_pairs(key: &Key, facets: &Facets, tolerant: bool) -> Vec<Pair> {
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
            for check in get("checks").into_iter().flat_map(|checks| checks.split(", ")) {
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

/// A constraint of a table that is there: found out first, proven later.
fn constraint(key: &Key, facets: &Facets, tolerant: bool, is_new: bool) -> Vec<Pair> {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let (name, table) = (quoted(&key.name), quoted(&key.table));
    let definition = get("sql").unwrap_or_default();
    let maybe = if tolerant { "IF EXISTS " } else { "" };
    let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {maybe}{name}");
    let add = |definition: &str| {
        let add = format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}");
        if !tolerant {
            return add;
        }
        let body = format!("DROP INDEX IF EXISTS {name};\n{add}");
        let body = if ["unique", "primary key"].contains(&key.kind.as_str()) { body } else { add };
        unless(&exists(key), &body)
    };
    let proven = get("validity").is_none() && get("enforcement").is_none();
    if ["check", "foreign key"].contains(&key.kind.as_str()) && proven && !is_new {
        let validate = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}");
        return vec![
            Pair::sql(add(&format!("{definition} NOT VALID")), drop),
            Pair::of(Action::Outside(validate), Action::Nothing),
        ];
    }
    let builds = ["unique", "primary key"].contains(&key.kind.as_str());
    if builds && !is_new && !tolerant && get("periods").is_none() {
        let columns = get("columns").unwrap_or_default();
        let include = get("include").map(|names| format!(" INCLUDE ({names})")).unwrap_or_default();
        let nulls = get("nulls").map(|nulls| format!(" {nulls}")).unwrap_or_default();
        let deferrable = get("deferrable").map(|how| format!(" {how}")).unwrap_or_default();
        let kind = if key.kind == "unique" { "UNIQUE" } else { "PRIMARY KEY" };
        let build = format!(
            "CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns}){include}{nulls}"
        );
        return vec![
            Pair::of(Action::Outside(build), Action::Nothing),
            Pair::sql(
                format!(
                    "ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name}{deferrable}"
                ),
                drop,
            ),
        ];
    }
    vec![Pair::sql(add(definition), drop)]
}

/// `CREATE TABLE` with its columns, keys and CHECKs. Foreign keys follow when all tables are there.
fn create_table(catalog: &Catalog, key: &Key, maybe_not: &str) -> String {
    let unlogged = catalog.facet(key, "persistence").map_or("", |_| "UNLOGGED ");
    let mut parts: Vec<String> = catalog
        .columns(&key.name)
        .into_iter()
        .map(|(column, facets)| columns::definition(column, facets, true))
        .collect();
    for (constraint, facets) in catalog.of_table(&key.name) {
        if constraint.is_constraint() && constraint.kind != "foreign key" {
            let definition = facets.get("sql").map(String::as_str).unwrap_or_default();
            parts.push(format!("CONSTRAINT {} {definition}", quoted(&constraint.name)));
        }
    }
    format!(
        "CREATE {unlogged}TABLE {maybe_not}{} (\n    {}\n)",
        quoted(&key.name),
        parts.join(",\n    ")
    )
}

/// A block that does something unless a condition holds.
pub(super) fn unless(condition: &str, body: &str) -> String {
    format!("DO $do$ BEGIN IF NOT ({condition}) THEN\n{body};\nEND IF; END $do$")
}

/// Whether an object is there, as a condition.
pub(super) fn exists(key: &Key) -> String {
    let (name, table) = (literal(&key.name), literal(&quoted(&key.table)));
    match key.kind.as_str() {
        "table" | "index" | "view" => {
            format!("to_regclass({}) IS NOT NULL", literal(&quoted(&key.name)))
        }
        "column" => format!(
            "EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass({table}) AND attname = {name})"
        ),
        "trigger" => format!(
            "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass({table}) AND tgname = {name})"
        ),
        "function" => format!("to_regprocedure({}) IS NOT NULL", literal(&signature(&key.name))),
        _ => format!(
            "EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass({table}) AND conname = {name})"
        ),
    }
}

//! How an object of PostgreSQL is created and dropped.

use super::{
    columns,
    conditions::{exists, unless},
    objects,
    text::{comment, quoted},
};
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    generate::{Answers, Pair, PlannedAction},
};

/// The steps that make an object, each with its way back. `is_new` is of what belongs to a table
/// that is made in the same revision: no other session waits for its locks.
pub(super) fn pairs(
    catalog: &Catalog,
    key: &ObjectKey,
    answers: &Answers,
    is_new: bool,
) -> Vec<Pair> {
    let none = Facets::new();
    let facets = catalog.objects.get(key).unwrap_or(&none);
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let tolerant = answers.is_tolerant;
    let name = quoted(&key.name);
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
                    PlannedAction::Outside(format!("{before}CONCURRENTLY {maybe_not}{rest}")),
                    PlannedAction::Outside(format!("DROP INDEX CONCURRENTLY {maybe}{name}")),
                )]
            }
        }
        "primary key" | "unique" | "check" | "exclusion" | "foreign key" => {
            constraint(key, facets, tolerant, is_new)
        }
        _ => objects::pairs(catalog, key, facets, tolerant),
    };
    if let Some(text) = get("comment")
        && key.kind != "column"
        && !pairs.is_empty()
    {
        pairs.push(Pair::of(
            PlannedAction::Sql(comment(catalog, key, Some(text))),
            PlannedAction::Nothing,
        ));
    }
    pairs
}

/// A constraint of a table that is there: found out first, proven later.
fn constraint(key: &ObjectKey, facets: &Facets, tolerant: bool, is_new: bool) -> Vec<Pair> {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let (name, table) = (quoted(&key.name), quoted(&key.table));
    let definition = get("sql").unwrap_or_default();
    let maybe = if tolerant { "IF EXISTS " } else { "" };
    // The table may be gone with the constraint.
    let drop = format!("ALTER TABLE {maybe}{table} DROP CONSTRAINT {maybe}{name}");
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
            Pair::of(PlannedAction::Outside(validate), PlannedAction::Nothing),
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
            Pair::of(PlannedAction::Outside(build), PlannedAction::Nothing),
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
/// What a table has from the one that it inherits from, or is a part of, comes by itself.
fn create_table(catalog: &Catalog, key: &ObjectKey, maybe_not: &str) -> String {
    let get = |facet: &str| catalog.facet(key, facet);
    let unlogged = get("persistence").map_or("", |_| "UNLOGGED ");
    let is_own = |facets: &&Facets| !facets.contains_key("inherited");
    let columns = catalog.columns(&key.name).into_iter();
    let mut parts: Vec<String> = columns
        .filter(|(_, facets)| is_own(facets))
        .map(|(column, facets)| columns::definition(column, facets, false))
        .collect();
    let constraints = catalog.of_table(&key.name);
    for (constraint, facets) in constraints.filter(|(_, facets)| is_own(facets)) {
        if constraint.is_constraint() && constraint.kind != "foreign key" {
            let definition = facets.get("sql").map(String::as_str).unwrap_or_default();
            parts.push(format!("CONSTRAINT {} {definition}", quoted(&constraint.name)));
        }
    }
    let inside = match parts.is_empty() {
        true => "()".to_owned(),
        false => format!("(\n    {}\n)", parts.join(",\n    ")),
    };
    let shape = match (get("inherits"), get("partition_bound")) {
        (Some(whole), Some(bound)) if parts.is_empty() => format!("PARTITION OF {whole} {bound}"),
        (Some(whole), Some(bound)) => format!("PARTITION OF {whole} {inside} {bound}"),
        (Some(parents), None) => format!("{inside} INHERITS ({parents})"),
        (None, _) => inside,
    };
    let by = get("partition_key").map(|by| format!(" PARTITION BY {by}")).unwrap_or_default();
    format!("CREATE {unlogged}TABLE {maybe_not}{} {shape}{by}", quoted(&key.name))
}

//! Columns of PostgreSQL: how they are written, added and dropped.

use super::{
    objects::sequence,
    text::{comment, quoted},
};
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    expression::is_stable,
    generate::{Answers, Pair, PlannedAction},
};

/// A column as CREATE TABLE and ADD COLUMN take it. One whose rows are filled later comes without
/// its NOT NULL, which they break, and without its default, which they would get instead.
pub(super) fn definition(key: &ObjectKey, facets: &Facets, is_filled_later: bool) -> String {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let mut text = format!("{} {}", quoted(&key.name), get("type").unwrap_or_default());
    if let Some(collation) = get("collation").filter(|name| *name != "\"default\"") {
        text.push_str(&format!(" COLLATE {collation}"));
    }
    if let Some(expression) = get("generated") {
        let storage = get("storage_of_generated").unwrap_or("STORED");
        text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) {storage}"));
    }
    if let Some(identity) = identity(facets) {
        text.push_str(&format!(" {identity}"));
    }
    if is_filled_later {
        return text;
    }
    if get("null") == Some("NOT NULL") {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = get("default") {
        text.push_str(&format!(" DEFAULT {default}"));
    }
    text
}

/// `GENERATED … AS IDENTITY` with the options of its sequence.
pub(super) fn identity(facets: &Facets) -> Option<String> {
    let options = facets.get("identity_sequence").map(|text| sequence(text));
    let options = options.map(|options| format!(" ({options})")).unwrap_or_default();
    Some(format!("GENERATED {} AS IDENTITY{options}", facets.get("identity")?))
}

/// Adds a column to a table that is there. With a default that doesn't change within a statement no
/// row is rewritten; with a value that is computed the column is filled in batches first.
pub(super) fn add(catalog: &Catalog, key: &ObjectKey, answers: &Answers) -> Vec<Pair> {
    let none = Facets::new();
    let facets = catalog.objects.get(key).unwrap_or(&none);
    // Batches go by the id.
    let has_id = catalog.objects.contains_key(&ObjectKey::new("column", &key.table, "id"));
    // A column of the old schema is dropped after its table is renamed.
    let key = &ObjectKey { table: answers.renames.new_table(&key.table), ..key.clone() };
    let table = quoted(&key.table);
    let (maybe_not, maybe) =
        if answers.is_tolerant { ("IF NOT EXISTS ", "IF EXISTS ") } else { ("", "") };
    let drop = format!("ALTER TABLE {table} DROP COLUMN {maybe}{}", quoted(&key.name));
    // PostgreSQL rewrites the table under a lock that stops reads if a default is computed for each
    // row. So the values of such a default are filled in batches, too, where the table has an id.
    let default = facets.get("default").map(String::as_str);
    let computed = default.filter(|default| has_id && !is_stable(catalog.engine, default));
    let fill = answers.fill(key).or(computed);
    let mut add = format!(
        "ALTER TABLE {table} ADD COLUMN {maybe_not}{}",
        definition(key, facets, fill.is_some())
    );
    if let (Some(_), Some(default)) = (fill, default) {
        let column = quoted(&key.name);
        add.push_str(&format!(
            ";\nALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}"
        ));
    }
    let mut first = Pair::sql(add, drop);
    if !facets.contains_key("generated") {
        first.down_loses = Some(format!("{} with its values", key.display()));
    }
    let mut pairs = vec![first];
    if let Some(value) = fill {
        pairs.push(Pair::of(
            PlannedAction::Fill {
                table: key.table.clone(),
                column: key.name.clone(),
                value: value.to_owned(),
            },
            PlannedAction::Nothing,
        ));
        if facets.get("null").map(String::as_str) == Some("NOT NULL") {
            // Going down drops the column, with its CHECK and its NOT NULL.
            let steps = set_not_null(key).into_iter();
            pairs.extend(steps.map(|step| Pair::of(step.up, PlannedAction::Nothing)));
        }
    }
    if let Some(text) = facets.get("comment") {
        pairs.push(Pair::of(
            PlannedAction::Sql(comment(catalog, key, Some(text))),
            PlannedAction::Nothing,
        ));
    }
    pairs
}

/// NOT NULL without reading the table under a lock that stops writes: a CHECK that isn't proven
/// yet, its proof, and then SET NOT NULL, which the CHECK spares the look at every row.
pub(super) fn set_not_null(key: &ObjectKey) -> Vec<Pair> {
    let (table, column) = (quoted(&key.table), quoted(&key.name));
    let check = quoted(&format!("{}_{}_not_null", key.table, key.name));
    let alter = format!("ALTER TABLE {table}");
    vec![
        Pair::sql(
            format!("{alter} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"),
            format!("{alter} DROP CONSTRAINT IF EXISTS {check}"),
        ),
        Pair::of(
            PlannedAction::Outside(format!("{alter} VALIDATE CONSTRAINT {check}")),
            PlannedAction::Nothing,
        ),
        Pair::sql(
            format!("{alter} ALTER COLUMN {column} SET NOT NULL, DROP CONSTRAINT {check}"),
            format!("{alter} ALTER COLUMN {column} DROP NOT NULL"),
        ),
    ]
}

//! Whether a revision can repair a difference, and what that loses.

use super::{Comparison, Difference, DifferenceKind, Loss, Repair};
use crate::expression::{Engine, normal_type};

/// What the repair needs. `facet` names the part of an object that has changed.
pub(super) fn of(
    comparison: &Comparison<'_>,
    difference: &Difference,
    facet: Option<&String>,
) -> (Repair, Loss) {
    match difference.change {
        DifferenceKind::Order => (Repair::No, Loss::No),
        DifferenceKind::Renamed => renamed(difference),
        DifferenceKind::Added => added(comparison, difference),
        DifferenceKind::Removed => (removed(comparison, difference), Loss::No),
        DifferenceKind::Changed => {
            let facet = facet.or_else(|| difference.facets.first());
            let name = facet.map(String::as_str).unwrap_or_default();
            // Several facets of one object need what the hardest of them needs.
            let names: Vec<&str> = match difference.key().kind.as_str() {
                "table" | "column" => vec![name],
                _ => difference.facets.iter().map(String::as_str).collect(),
            };
            let repairs = names.into_iter().map(|name| changed(comparison, difference, name));
            let hardest = repairs.max_by_key(|repair| match repair {
                Repair::Yes => 0,
                Repair::Ask => 1,
                Repair::No => 2,
            });
            (hardest.unwrap_or(Repair::No), Loss::No)
        }
    }
}

/// The author of a newer program may mean a rename of a table or a column.
fn renamed(difference: &Difference) -> (Repair, Loss) {
    match difference.key().kind.as_str() {
        "table" | "column" => (Repair::Ask, Loss::No),
        _ => (Repair::Yes, Loss::No),
    }
}

fn added(comparison: &Comparison<'_>, difference: &Difference) -> (Repair, Loss) {
    let key = difference.key();
    let has = |facet: &str| comparison.found.facet(key, facet).is_some();
    let form = comparison.found.facet(key, "form").unwrap_or_default();
    match key.kind.as_str() {
        "table" if ["table", "partitioned table"].contains(&form) => (Repair::Yes, Loss::IfRows),
        "table" => (Repair::No, Loss::IfRows),
        "column" if has("generated") => (Repair::Yes, Loss::No),
        "column" => (Repair::Yes, Loss::IfRows),
        // What it is made of has too many forms to be written again on the way back.
        "function" if form == "aggregate" => (Repair::No, Loss::No),
        "primary key" | "unique" | "foreign key" | "check" | "exclusion" | "index" | "trigger"
        | "function" | "view" | "rule" | "policy" | "type" | "sequence" | "extension" => {
            (Repair::Yes, Loss::No)
        }
        _ => (Repair::No, Loss::No),
    }
}

/// A restored constraint may not fit rows that were inserted meanwhile.
fn removed(comparison: &Comparison<'_>, difference: &Difference) -> Repair {
    let key = difference.key();
    let engine = comparison.expected.engine;
    let has = |facet: &str| comparison.expected.facet(key, facet).is_some();
    match key.kind.as_str() {
        // Rows that exist have no value for it.
        "column" => {
            let required = comparison.expected.facet(key, "null") == Some("NOT NULL");
            match required && !has("default") && !has("generated") {
                true => Repair::Ask,
                false => Repair::Yes,
            }
        }
        "unique" | "foreign key" | "check" | "exclusion" => Repair::Ask,
        "function" if comparison.expected.facet(key, "form") == Some("aggregate") => Repair::No,
        "primary key" if engine == Engine::Sqlite => Repair::Ask,
        "index" if has("uniqueness") => Repair::Ask,
        "table" | "primary key" | "index" | "trigger" | "function" | "view" | "rule" | "policy"
        | "type" | "sequence" => Repair::Yes,
        _ => Repair::No,
    }
}

fn changed(comparison: &Comparison<'_>, difference: &Difference, facet: &str) -> Repair {
    let (Some(expected), Some(found)) = (&difference.expected, &difference.found) else {
        return Repair::No;
    };
    let before = comparison.expected.facet(expected, facet);
    let after = comparison.found.facet(found, facet);
    match (expected.kind.as_str(), facet) {
        ("table", "form" | "inherits" | "partition_key" | "partition_bound" | "of_type") => {
            Repair::No
        }
        ("table", "definition") if expected.table.is_empty() => Repair::No,
        ("column", "inherited") => Repair::No,
        ("column", "null") => match before {
            Some("NOT NULL") => Repair::Ask,
            _ => Repair::Yes,
        },
        ("column", "type") => {
            let engine = comparison.expected.engine;
            let always = fits(engine, after.unwrap_or_default(), before.unwrap_or_default());
            if always { Repair::Yes } else { Repair::Ask }
        }
        ("check", "expression") | ("exclusion", "definition") => Repair::Ask,
        ("check" | "foreign key", "validity" | "enforcement") if before.is_none() => Repair::Ask,
        (
            "unique" | "primary key" | "foreign key",
            "columns" | "references" | "referenced_columns",
        ) => Repair::Ask,
        ("unique", "nulls") if before.is_some() => Repair::Ask,
        ("index", "uniqueness") if before.is_some() => Repair::Ask,
        ("index", "keys" | "predicate" | "nulls")
            if comparison.expected.facet(expected, "uniqueness").is_some() =>
        {
            Repair::Ask
        }
        ("foreign key", "match") if before.is_some() => Repair::Ask,
        ("primary key" | "unique", "constraint") if found.kind == "index" => {
            match comparison.found.facet(found, "uniqueness") {
                Some(_) => Repair::Yes,
                None => Repair::Ask,
            }
        }
        ("type", _) | ("sequence", "form") | ("extension", _) => Repair::No,
        _ => Repair::Yes,
    }
}

/// Whether every value of one type has a value of the other that says the same.
fn fits(engine: Engine, from: &str, to: &str) -> bool {
    let (from, to) = (normal_type(engine, from), normal_type(engine, to));
    if engine == Engine::Sqlite {
        // Values keep their own types there; a column's type only asks for one.
        return true;
    }
    let base = |name: &str| name.split('(').next().unwrap_or_default().to_owned();
    let (from_base, to_base) = (base(&from), base(&to));
    let widths = ["smallint", "integer", "bigint", "numeric"];
    let width = |name: &str| widths.iter().position(|other| *other == name);
    match (width(&from_base), width(&to_base)) {
        (Some(from), Some(_)) if from_base == to_base => return from < 3 || to == "numeric",
        (Some(one), Some(other)) => return one < other && to == to_base,
        _ => {}
    }
    match to.as_str() {
        "text" | "character varying" => true,
        "timestamp with time zone" | "timestamp without time zone" => {
            ["timestamp with time zone", "timestamp without time zone", "date"]
                .contains(&from_base.as_str())
                || from_base.starts_with("timestamp")
        }
        "double precision" => from_base == "real" || width(&from_base).is_some_and(|at| at < 2),
        _ => false,
    }
}

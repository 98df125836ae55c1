//! What follows from another difference is reported along with it: the index of a column that is
//! gone, the columns of a table that is new.

use std::collections::BTreeSet;

use super::{Comparison, Difference, DifferenceKind, rename::bare};
use crate::{
    catalog::{Catalog, ObjectKey},
    expression::identifiers,
};

/// Puts each difference that another one explains into that one's `along`.
pub(super) fn fold(comparison: &mut Comparison<'_>) {
    let differences = std::mem::take(&mut comparison.differences);
    let mut parents: Vec<Option<usize>> = vec![None; differences.len()];
    for (child, difference) in differences.iter().enumerate() {
        let explaining = differences.iter().enumerate().filter(|(parent, candidate)| {
            *parent != child && explains(comparison, candidate, difference)
        });
        // A table explains more than a column does, a column more than a key.
        parents[child] = explaining.min_by_key(|(_, parent)| rank(parent)).map(|(at, _)| at);
    }
    let mut kept: Vec<Difference> = Vec::new();
    for (at, difference) in differences.iter().enumerate() {
        if parents[at].is_some() {
            continue;
        }
        let mut difference = difference.clone();
        difference.along = (0..differences.len())
            .filter(|child| root(&parents, *child) == at && *child != at)
            .map(|child| differences[child].key().clone())
            .collect();
        kept.push(difference);
    }
    comparison.differences = kept;
}

fn rank(difference: &Difference) -> u8 {
    match difference.key().kind.as_str() {
        "table" | "view" => 0,
        "function" | "type" => 1,
        "column" => 2,
        _ => 3,
    }
}

/// The difference that explains this one in the end.
fn root(parents: &[Option<usize>], mut at: usize) -> usize {
    // Each step goes to another difference. The number of steps is bounded, which ends a cycle.
    for _ in 0..parents.len() {
        match parents[at] {
            Some(parent) => at = parent,
            None => break,
        }
    }
    at
}

/// Whether `child` follows from `parent`.
fn explains(comparison: &Comparison<'_>, parent: &Difference, child: &Difference) -> bool {
    match (parent.change, child.change) {
        (DifferenceKind::Removed, DifferenceKind::Removed) => {
            let (Some(parent), Some(child)) = (&parent.expected, &child.expected) else {
                return false;
            };
            belongs(comparison.expected, parent, child)
        }
        (DifferenceKind::Added, DifferenceKind::Added) => {
            let (Some(parent), Some(child)) = (&parent.found, &child.found) else { return false };
            // A function that a new trigger calls is a finding of its own.
            !["function", "primary key", "unique", "index"].contains(&parent.kind.as_str())
                && belongs(comparison.found, parent, child)
        }
        // A view's definition and a table's text follow the columns that they name.
        _ => false,
    }
}

/// Whether an object goes with another one of the same schema.
fn belongs(catalog: &Catalog, parent: &ObjectKey, child: &ObjectKey) -> bool {
    let facet = |facet: &str| catalog.facet(child, facet).unwrap_or_default();
    let named = |facets: &[&str]| -> BTreeSet<String> {
        facets.iter().flat_map(|name| identifiers(catalog.engine, facet(name))).collect()
    };
    match parent.kind.as_str() {
        "table" | "view" if child.table == parent.name => true,
        "table" if child.kind == "foreign key" => facet("references") == parent.name,
        "table" if child.kind == "sequence" => {
            facet("owned_by").starts_with(&format!("{}.", parent.name))
        }
        "table" | "view" if child.kind == "view" || child.kind == "rule" => {
            named(&["definition"]).contains(&parent.name)
        }
        "column" if child.table == parent.table => {
            let facets = ["columns", "expression", "keys", "predicate", "include", "generated"];
            named(&facets).contains(&parent.name)
                || (child.kind == "trigger" && named(&["definition"]).contains(&parent.name))
        }
        "column" if child.kind == "foreign key" && facet("references") == parent.table => {
            named(&["referenced_columns"]).contains(&parent.name)
        }
        "column" if child.kind == "sequence" => {
            facet("owned_by") == format!("{}.{}", parent.table, parent.name)
        }
        "primary key" | "unique" if child.kind == "foreign key" => {
            let columns = catalog.facet(parent, "columns").unwrap_or_default();
            facet("references") == parent.table && facet("referenced_columns") == columns
        }
        "function" => {
            let facets = ["definition", "generated", "default", "expression", "keys", "predicate"];
            named(&facets).contains(bare(&parent.name))
        }
        "type" => facet("type").trim_end_matches("[]") == parent.name,
        _ => false,
    }
}

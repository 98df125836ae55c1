//! What an object of a schema needs: the objects that are made before it and dropped after it.

use std::collections::BTreeSet;

use crate::{
    catalog::{Catalog, ObjectKey},
    drift::bare,
    expression::identifiers,
};

/// The facets in which an object names others.
const NAMING: &[&str] = &[
    "definition",
    "inherits",
    "of_type",
    "type",
    "attributes",
    "checks",
    "default",
    "body",
    "arguments",
    "returns",
];

/// The kinds of objects that others are made of.
const NEEDED: &[&str] = &["table", "view", "type", "function", "sequence"];

/// How many objects stand below this one, the longest way down: 0 of one that needs no other.
pub(super) fn depth(catalog: &Catalog, key: &ObjectKey) -> i32 {
    /// No chain of objects is longer. It ends circles.
    const LONGEST: u8 = 16;
    depth_within(catalog, key, LONGEST)
}

fn depth_within(catalog: &Catalog, key: &ObjectKey, left: u8) -> i32 {
    let Some(left) = left.checked_sub(1) else { return 0 };
    let names = named(catalog, key);
    let needs = catalog.objects.keys().filter(|other| {
        *other != key && NEEDED.contains(&other.kind.as_str()) && names.contains(bare(&other.name))
    });
    needs.map(|other| 1 + depth_within(catalog, other, left)).max().unwrap_or(0)
}

/// The names in an object's facets, and its table's.
fn named(catalog: &Catalog, key: &ObjectKey) -> BTreeSet<String> {
    let facets = NAMING.iter().filter_map(|facet| catalog.facet(key, facet));
    let mut names: BTreeSet<String> =
        facets.flat_map(|text| identifiers(catalog.engine, text)).collect();
    names.insert(key.table.clone());
    names
}

/// Whether a function names a table that `other` doesn't have, so that it can't be made before it.
pub(super) fn needs_new_table(catalog: &Catalog, key: &ObjectKey, other: &Catalog) -> bool {
    let names = named(catalog, key);
    let tables =
        catalog.objects.keys().filter(|key| ["table", "view"].contains(&key.kind.as_str()));
    tables
        .into_iter()
        .any(|table| names.contains(&table.name) && !other.objects.contains_key(table))
}

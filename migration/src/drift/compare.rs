//! Finds the differences of two schemas.

use std::collections::BTreeSet;

use super::{Comparison, Difference, DifferenceKind, Renames, facets, fold, pair};
use crate::catalog::{Catalog, ObjectKey};

/// Compares two schemas of one engine. Renames of tables and columns are guessed: the same
/// definition at the same place under another name.
pub fn compare<'a>(expected: &'a Catalog, found: &'a Catalog) -> Comparison<'a> {
    compare_renamed(expected, found, Renames::guess(expected, found))
}

/// Compares two schemas whose renames are known.
pub fn compare_renamed<'a>(
    expected: &'a Catalog,
    found: &'a Catalog,
    renames: Renames,
) -> Comparison<'a> {
    let mut differences = Vec::new();
    let mut seen = BTreeSet::new();
    for key in expected.objects.keys() {
        let there = renames.new_key(key);
        let mut difference = Difference {
            change: DifferenceKind::Removed,
            expected: Some(key.clone()),
            found: None,
            facets: Vec::new(),
            along: Vec::new(),
        };
        if found.objects.contains_key(&there) {
            seen.insert(there.clone());
            let is_renamed = there.name != key.name;
            difference.facets = facets::differing(expected, found, key, &there, &renames);
            difference.found = Some(there);
            if is_renamed {
                let renamed = Difference {
                    change: DifferenceKind::Renamed,
                    facets: Vec::new(),
                    ..difference.clone()
                };
                differences.push(renamed);
            }
            if difference.facets.is_empty() {
                continue;
            }
            difference.change = DifferenceKind::Changed;
        }
        differences.push(difference);
    }
    for key in found.objects.keys().filter(|key| !seen.contains(*key)) {
        differences.push(Difference {
            change: DifferenceKind::Added,
            expected: None,
            found: Some(key.clone()),
            facets: Vec::new(),
            along: Vec::new(),
        });
    }
    pair::pair(expected, found, &renames, &mut differences);
    differences.extend(order(expected, found, &renames));
    let mut comparison = Comparison { expected, found, renames, differences };
    fold::fold(&mut comparison);
    comparison
}

/// Tables whose common columns have another order.
fn order(expected: &Catalog, found: &Catalog, renames: &Renames) -> Vec<Difference> {
    let mut differences = Vec::new();
    for key in expected.objects.keys().filter(|key| key.kind == "table") {
        let there = renames.new_key(key);
        let names = |catalog: &Catalog, table: &str| -> Vec<ObjectKey> {
            catalog.columns(table).into_iter().map(|(key, _)| key.clone()).collect()
        };
        let mut before: Vec<ObjectKey> =
            names(expected, &key.name).iter().map(|column| renames.new_key(column)).collect();
        let mut after = names(found, &there.name);
        before.retain(|column| after.contains(column));
        after.retain(|column| before.contains(column));
        if before != after {
            differences.push(Difference {
                change: DifferenceKind::Order,
                expected: Some(key.clone()),
                found: Some(there),
                facets: Vec::new(),
                along: Vec::new(),
            });
        }
    }
    differences
}

//! What is missing and what is there besides, where they are one thing.

use super::{Difference, DifferenceKind, Renames, facets};
use crate::catalog::{Catalog, ObjectKey};

/// Pairs what is missing with what is there besides: indexes and constraints with the same
/// definition, and a constraint whose index alone is there.
pub(super) fn pair(
    expected: &Catalog,
    found: &Catalog,
    renames: &Renames,
    differences: &mut Vec<Difference>,
) {
    let mut at = 0;
    while at < differences.len() {
        let Difference { change: DifferenceKind::Removed, expected: Some(old), .. } =
            &differences[at]
        else {
            at += 1;
            continue;
        };
        let there = renames.new_key(old);
        let mut partner = None;
        for (other, difference) in differences.iter().enumerate() {
            let Difference { change: DifferenceKind::Added, found: Some(new), .. } = difference
            else {
                continue;
            };
            if new.table != there.table || new.table.is_empty() {
                continue;
            }
            let nameable = old.is_constraint() || ["index", "trigger"].contains(&old.kind.as_str());
            let same = nameable
                && new.kind == old.kind
                && same_definition(expected, found, old, new, renames);
            if same {
                partner = Some((other, DifferenceKind::Renamed, Vec::new()));
            } else if new.name == there.name && is_pair(&old.kind, &new.kind) {
                partner = Some((other, DifferenceKind::Changed, vec!["constraint".to_owned()]));
            }
        }
        let Some((other, change, facets)) = partner else {
            at += 1;
            continue;
        };
        let new = differences[other].found.clone();
        let both_unnamed = old.name.starts_with("CHECK (")
            && new.as_ref().is_some_and(|new| new.name.starts_with("CHECK ("));
        differences[at] = Difference { change, found: new, facets, ..differences[at].clone() };
        differences.remove(other);
        if other < at {
            at -= 1;
        }
        if both_unnamed {
            differences.remove(at);
        } else {
            at += 1;
        }
    }
}

/// Kinds of which one may have the other's name.
fn is_pair(one: &str, other: &str) -> bool {
    let kinds = ["primary key", "unique", "index"];
    kinds.contains(&one) && kinds.contains(&other)
}

/// Whether two objects differ in nothing but their names.
fn same_definition(
    expected: &Catalog,
    found: &Catalog,
    old: &ObjectKey,
    new: &ObjectKey,
    renames: &Renames,
) -> bool {
    let differing = facets::differing(expected, found, old, new, renames);
    // A trigger's text holds its name.
    differing.is_empty()
        || (old.kind == "trigger" && differing == ["definition"] && {
            let text = |catalog: &Catalog, key: &ObjectKey| {
                let text = catalog.facet(key, "definition").unwrap_or_default();
                text.replacen(&key.name, "", 1)
            };
            text(expected, old) == text(found, new)
        })
}

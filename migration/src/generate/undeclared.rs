//! Indexes that revisions make and that no entity declares. A revision may make one by hand, for a
//! query that only some installation has, so none is dropped unasked.

use crate::{
    catalog::{Catalog, ObjectKey},
    drift::{DifferenceKind, Renames, compare_renamed},
};

/// The indexes of `from` that `to` lacks though their tables and columns stay. One whose table has
/// another name, and one that `to` has under another name, are none of these.
pub fn undeclared_indexes(from: &Catalog, to: &Catalog, renames: &Renames) -> Vec<ObjectKey> {
    let comparison = compare_renamed(from, to, renames.clone());
    let removed = comparison.differences.iter().filter(|one| one.change == DifferenceKind::Removed);
    let keys = removed.filter_map(|one| one.expected.as_ref());
    keys.filter(|key| key.kind == "index" && to.has_table(&key.table)).cloned().collect()
}

/// Keeps indexes of `from` in `to`.
pub fn keep(from: &Catalog, to: &mut Catalog, indexes: &[&ObjectKey]) {
    for key in indexes {
        if let Some(facets) = from.objects.get(key) {
            to.objects.insert((*key).clone(), facets.clone());
        }
    }
}

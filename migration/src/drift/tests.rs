//! Differences between catalogs made by hand: renames, what is reported along, what a repair takes.

use super::{Loss, Repair, compare};
use crate::{
    catalog::{Catalog, ObjectKey},
    expression::Engine,
};

/// A table of shelves with a key, a CHECK and an index.
fn shelves() -> Catalog {
    let mut catalog = Catalog::new(Engine::Postgres);
    catalog.set(&ObjectKey::new("table", "", "shelves"), "form", "table");
    let columns =
        [("id", "uuid", "NOT NULL"), ("label", "text", "NOT NULL"), ("height", "integer", "NULL")];
    for (at, (name, type_name, null)) in columns.into_iter().enumerate() {
        let key = ObjectKey::new("column", "shelves", name);
        catalog.set(&key, "type", type_name);
        catalog.set(&key, "null", null);
        catalog.set(&key, "position", (at + 1).to_string());
    }
    let check = ObjectKey::new("check", "shelves", "shelves_label_check");
    catalog.set(&check, "expression", "(length(label) <= 40)");
    catalog.set(&ObjectKey::new("primary key", "shelves", "shelves_pkey"), "columns", "id");
    catalog.set(
        &ObjectKey::new("index", "shelves", "shelves_label_idx"),
        "keys",
        "label\t\nid\t DESC",
    );
    catalog
}

/// The findings of what `change` does to the shelves, as kind and object.
fn findings(change: impl Fn(&mut Catalog)) -> Vec<(String, String)> {
    let expected = shelves();
    let mut found = shelves();
    change(&mut found);
    let findings = compare(&expected, &found).findings();
    findings.into_iter().map(|finding| (finding.kind, finding.object)).collect()
}

fn pair(kind: &str, object: &str) -> (String, String) {
    (kind.to_owned(), object.to_owned())
}

/// Gives a column another name everywhere.
fn rename(catalog: &mut Catalog, old: &str, new: &str) {
    let key = ObjectKey::new("column", "shelves", old);
    let facets = catalog.objects.remove(&key).expect("the column");
    catalog.objects.insert(ObjectKey::new("column", "shelves", new), facets);
    for (key, facets) in &mut catalog.objects {
        if key.kind != "column" {
            facets.values_mut().for_each(|value| *value = value.replace(old, new));
        }
    }
}

/// A change of a schema.
type Mutation<'a> = &'a dyn Fn(&mut Catalog);

#[test]
fn equal_schemas_have_no_differences() {
    assert_eq!(findings(|_| {}), []);
    let other_spelling = |catalog: &mut Catalog| {
        let key = ObjectKey::new("check", "shelves", "shelves_label_check");
        catalog.set(&key, "expression", "(40 >= char_length(label))");
    };
    assert_eq!(findings(other_spelling), []);
}

#[test]
fn a_renamed_column_is_one_finding() {
    let found = findings(|catalog| rename(catalog, "label", "title"));
    assert_eq!(found, [pair("column.renamed", "shelves.title")]);
}

#[test]
fn a_consequence_is_no_finding_of_its_own() {
    let expected = shelves();
    let mut found = shelves();
    found.objects.retain(|key, _| !key.name.contains("label"));
    found.set(&ObjectKey::new("column", "shelves", "height"), "position", "2");
    let findings = compare(&expected, &found).findings();
    let [finding] = findings.as_slice() else { panic!("one finding: {findings:#?}") };
    assert_eq!(
        (finding.kind.as_str(), finding.object.as_str()),
        ("column.removed", "shelves.label")
    );
    assert_eq!(finding.along, ["shelves_label_check", "shelves_label_idx"]);
    // Rows that exist have no label.
    assert_eq!((finding.repair, finding.repair_loses), (Repair::Ask, Loss::No));
}

#[test]
fn each_kind_of_change_is_found() {
    let column = |name: &str| ObjectKey::new("column", "shelves", name);
    let changes: [(Mutation<'_>, &str, &str); 6] = [
        (&|c| c.set(&column("height"), "type", "bigint"), "column.type", "shelves.height"),
        (&|c| c.set(&column("height"), "null", "NOT NULL"), "column.null", "shelves.height"),
        (&|c| c.set(&column("label"), "default", "'x'"), "column.default", "shelves.label"),
        (
            &|c| {
                c.set(
                    &ObjectKey::new("index", "shelves", "shelves_label_idx"),
                    "keys",
                    "label\t\nid\t",
                )
            },
            "index.keys",
            "shelves_label_idx",
        ),
        (
            &|c| {
                c.objects.remove(&ObjectKey::new("primary key", "shelves", "shelves_pkey"));
            },
            "primary key.removed",
            "shelves_pkey",
        ),
        (&|c| c.set(&column("width"), "type", "integer"), "column.added", "shelves.width"),
    ];
    for (change, kind, object) in changes {
        assert_eq!(findings(change), [pair(kind, object)]);
    }
}

#[test]
fn an_index_under_another_name_is_renamed() {
    let found = findings(|catalog| {
        let key = ObjectKey::new("index", "shelves", "shelves_label_idx");
        let facets = catalog.objects.remove(&key).expect("the index");
        catalog.objects.insert(ObjectKey::new("index", "shelves", "by_label"), facets);
    });
    assert_eq!(found, [pair("index.renamed", "by_label")]);
}

#[test]
fn another_order_of_columns_is_a_note() {
    let expected = shelves();
    let mut found = shelves();
    found.set(&ObjectKey::new("column", "shelves", "label"), "position", "3");
    found.set(&ObjectKey::new("column", "shelves", "height"), "position", "2");
    let findings = compare(&expected, &found).findings();
    let [finding] = findings.as_slice() else { panic!("one finding: {findings:#?}") };
    assert_eq!((finding.kind.as_str(), finding.level.name()), ("table.order", "note"));
}

//! Whether two facets have the same meaning.

use std::collections::BTreeSet;

use super::Renames;
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    expression::{Engine, Scope, normal_code, normal_form, normal_type},
};

/// Facets that are no part of what an object is: its text as a whole, and its place.
const UNCOMPARED: &[&str] = &["sql", "position"];

/// Facets that only describe another one. If an object has that other one on one side alone, it is
/// the difference.
const DESCRIBING: &[(&str, &str)] =
    &[("storage_of_generated", "generated"), ("identity_sequence", "identity")];

/// The facets in which two objects differ.
pub(super) fn differing(
    expected: &Catalog,
    found: &Catalog,
    key: &ObjectKey,
    there: &ObjectKey,
    renames: &Renames,
) -> Vec<String> {
    let none = Facets::new();
    let before = expected.objects.get(key).unwrap_or(&none);
    let after = found.objects.get(there).unwrap_or(&none);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let casts_follow = types_differ(expected, found, key, there, renames);
    let mut differing = Vec::new();
    for name in names {
        let described = DESCRIBING.iter().find(|(describing, _)| describing == name);
        let is_on_one_side = described
            .is_some_and(|(_, other)| before.contains_key(*other) != after.contains_key(*other));
        if UNCOMPARED.contains(&name.as_str()) || is_on_one_side {
            continue;
        }
        // A word of a statement may equal a renamed column's name and be none.
        let equal = [(false, true), (false, false), (true, true)].into_iter().any(
            |(ignore_casts, with_renames)| {
                let renames = Some(renames).filter(|_| with_renames);
                let old = Side { catalog: expected, key, facets: before, renames };
                let new = Side { catalog: found, key: there, facets: after, renames: None };
                (with_renames || name == "definition")
                    && (!ignore_casts || casts_follow)
                    && old.normal(name, ignore_casts) == new.normal(name, ignore_casts)
            },
        );
        if !equal {
            differing.push(name.clone());
        }
    }
    differing
}

/// Whether a column of the object's table has another type, so that casts follow from that.
fn types_differ(
    expected: &Catalog,
    found: &Catalog,
    key: &ObjectKey,
    there: &ObjectKey,
    renames: &Renames,
) -> bool {
    let after = found.column_types(&there.table);
    expected.column_types(&key.table).into_iter().any(|(name, column)| {
        let name = renames.columns_of(&key.table).get(&name).cloned().unwrap_or(name);
        after.get(&name).is_some_and(|other| other.type_name != column.type_name)
    })
}

/// One of the two objects that are compared.
struct Side<'a> {
    catalog: &'a Catalog,
    key: &'a ObjectKey,
    facets: &'a Facets,
    /// The renames that this side doesn't have yet.
    renames: Option<&'a Renames>,
}

impl Side<'_> {
    /// The facet in its normal form; none if it means the same as its absence.
    fn normal(&self, name: &str, ignore_casts: bool) -> Option<String> {
        let engine = self.catalog.engine;
        let value = self.facets.get(name);
        if name == "referenced_columns" && self.key.kind == "foreign key" {
            return Some(self.referenced_columns());
        }
        let value = value?;
        let scope = self.scope(ignore_casts);
        Some(match (self.key.kind.as_str(), name) {
            ("column" | "type", "default") => {
                let form = normal_form(engine, value, &scope);
                return (form != "NULL").then_some(form);
            }
            ("column", "type") => normal_type(engine, value),
            (_, "expression" | "generated" | "predicate") => normal_form(engine, value, &scope),
            ("index", "keys") => keys(engine, value, &scope),
            ("foreign key", "references") => {
                let renames = self.renames.map(|renames| renames.new_table(value));
                renames.unwrap_or_else(|| value.clone())
            }
            (_, "columns" | "include") => names(value, &scope),
            ("function", "body") => match self.facets.get("language").map(String::as_str) {
                Some("sql" | "plpgsql") => normal_code(engine, value, &scope),
                _ => value.clone(),
            },
            (_, "definition") => {
                let scope = self.wide_scope(scope);
                normal_code(engine, value, &scope)
            }
            _ => value.clone(),
        })
    }

    /// The scope of the names in the object's expressions.
    fn scope(&self, ignore_casts: bool) -> Scope {
        let table = match self.key.kind.as_str() {
            "table" => &self.key.name,
            _ => &self.key.table,
        };
        let columns = self.catalog.column_types(table);
        let mut renamed = self.renames.map(|renames| renames.columns_of(table)).unwrap_or_default();
        renamed.extend(self.renames.map(|renames| renames.functions.clone()).unwrap_or_default());
        Scope { columns, renamed, ignore_casts }
    }

    /// The same for statements, which may name any table and any column.
    fn wide_scope(&self, mut scope: Scope) -> Scope {
        if let Some(renames) = self.renames {
            scope.renamed.extend(renames.tables.clone());
            for ((_, old), new) in &renames.columns {
                scope.renamed.insert(old.clone(), new.clone());
            }
        }
        scope
    }

    /// The columns that a foreign key points to: the primary key where none are named.
    fn referenced_columns(&self) -> String {
        let table = self.facets.get("references").cloned().unwrap_or_default();
        let given = self.facets.get("referenced_columns").cloned();
        let primary = || {
            let mut keys =
                self.catalog.of_table(&table).filter(|(key, _)| key.kind == "primary key");
            keys.next().and_then(|(_, facets)| facets.get("columns").cloned())
        };
        let columns = given.or_else(primary).unwrap_or_default();
        let renamed = self.renames.map(|renames| renames.columns_of(&table)).unwrap_or_default();
        names(&columns, &Scope { renamed, ..Scope::default() })
    }
}

/// The columns of a key, by their new names.
fn names(value: &str, scope: &Scope) -> String {
    let name = |column: &str| {
        let (name, rest) = column.split_once(' ').unwrap_or((column, ""));
        let plain = name.trim_matches('"');
        let new = scope.renamed.get(plain).map_or(plain, String::as_str);
        format!("{new} {rest}").trim().to_owned()
    };
    value.split(", ").map(name).collect::<Vec<_>>().join(", ")
}

/// The key columns of an index, each in its normal form.
fn keys(engine: Engine, value: &str, scope: &Scope) -> String {
    let key = |line: &str| {
        let (what, how) = line.split_once('\t').unwrap_or((line, ""));
        format!("{}\t{how}", normal_form(engine, what, scope))
    };
    value.split('\n').map(key).collect::<Vec<_>>().join("\n")
}

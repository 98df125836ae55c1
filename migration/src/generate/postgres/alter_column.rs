//! Columns of PostgreSQL that change.

use super::{
    columns::{definition, identity, set_not_null},
    conditions::{computes, unless},
    planner::{Phase, PostgresPlanner},
    text::{comment, quoted},
};
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    expression::identifiers,
    generate::{Pair, PlannedAction},
};

impl PostgresPlanner<'_> {
    /// Another expression of a generated column: that can't be altered, so the column is made anew,
    /// with the indexes over it. A column that isn't generated any more keeps its values.
    fn regenerate(&mut self, old: &ObjectKey, new: &ObjectKey) {
        let statement = |catalog: &Catalog, other: &Catalog, key: &ObjectKey| {
            let none = Facets::new();
            let facets = catalog.objects.get(key).unwrap_or(&none);
            let (table, column) = (quoted(&key.table), quoted(&key.name));
            let alter = format!("ALTER TABLE {table}");
            let Some(expression) = facets.get("generated") else {
                return format!("{alter} ALTER COLUMN {column} DROP EXPRESSION IF EXISTS");
            };
            let mut parts = vec![
                format!("{alter} DROP COLUMN {column}"),
                format!("{alter} ADD COLUMN {}", definition(key, facets, false)),
            ];
            // Those that are in one of the schemas only are steps of their own.
            let indexes = catalog.of_table(&key.table).filter(|(index, facets)| {
                let over = ["keys", "include", "predicate"].iter().filter_map(|at| facets.get(*at));
                index.kind == "index"
                    && other.objects.contains_key(*index)
                    && over
                        .flat_map(|text| identifiers(catalog.engine, text))
                        .any(|name| name == key.name)
            });
            parts.extend(indexes.filter_map(|(_, facets)| facets.get("sql").cloned()));
            if let Some(text) = facets.get("comment") {
                parts.push(comment(catalog, key, Some(text)));
            }
            let made = parts.join(";\n");
            match self.answers.is_tolerant {
                true => unless(&computes(key, expression), &made),
                false => made,
            }
        };
        let mut pair =
            Pair::sql(statement(self.to, self.from, new), statement(self.from, self.to, old));
        if self.from.facet(old, "generated").is_none() {
            pair.up_loses = Some(format!("{} with its values", new.display()));
        }
        if self.to.facet(new, "generated").is_none() {
            pair.down_loses = Some(format!("{} with its values", new.display()));
        }
        self.push(Phase::AlterColumns, pair);
    }

    pub(super) fn change_column(&mut self, old: &ObjectKey, new: &ObjectKey, facets: &[String]) {
        let none = Facets::new();
        let before = self.from.objects.get(old).unwrap_or(&none);
        let after = self.to.objects.get(new).unwrap_or(&none);
        let has = |name: &str| facets.iter().any(|facet| facet == name);
        if has("generated") || has("storage_of_generated") {
            self.regenerate(old, new);
            return;
        }
        let alter =
            format!("ALTER TABLE {} ALTER COLUMN {}", quoted(&new.table), quoted(&new.name));
        if has("type") || has("collation") {
            self.push(
                Phase::AlterColumns,
                Pair::sql(retype(new, &alter, after, before), retype(new, &alter, before, after)),
            );
        }
        let has_identity = has("identity") || has("identity_sequence");
        if has_identity || has("default") && !has("type") {
            let pair = Pair::sql(values(&alter, after, before), values(&alter, before, after));
            self.push(Phase::AlterColumns, pair);
        }
        if has("null") {
            if after.get("null").map(String::as_str) == Some("NOT NULL") {
                if let Some(value) = self.answers.fill(new) {
                    let (table, column) = (new.table.clone(), new.name.clone());
                    let fill = PlannedAction::Fill { table, column, value: value.to_owned() };
                    self.push(Phase::AlterColumns, Pair::of(fill, PlannedAction::Nothing));
                }
                for pair in set_not_null(new) {
                    self.push(Phase::AlterColumns, pair);
                }
            } else {
                let pair =
                    Pair::sql(format!("{alter} DROP NOT NULL"), format!("{alter} SET NOT NULL"));
                self.push(Phase::AlterColumns, pair);
            }
        }
        if has("comment") {
            self.comment(old, new);
        }
        if has("rights_of_all") {
            let (table, column) = (quoted(&new.table), quoted(&new.name));
            let statement = |facets: &Facets| match facets.get("rights_of_all") {
                Some(rights) => {
                    let rights: Vec<String> =
                        rights.split(", ").map(|right| format!("{right} ({column})")).collect();
                    format!("GRANT {} ON {table} TO PUBLIC", rights.join(", "))
                }
                None => format!("REVOKE ALL ({column}) ON {table} FROM PUBLIC"),
            };
            self.push(Phase::Properties, Pair::sql(statement(after), statement(before)));
        }
    }
}

/// Where the values of new rows come from. A column has a default or is an identity, so the one
/// goes before the other comes.
fn values(alter: &str, facets: &Facets, other: &Facets) -> String {
    let (default, is_identity) = (facets.get("default"), facets.contains_key("identity"));
    let was_identity = other.contains_key("identity");
    let mut parts = Vec::new();
    if was_identity {
        parts.push(format!("{alter} DROP IDENTITY IF EXISTS"));
    }
    match default {
        Some(default) => parts.push(format!("{alter} SET DEFAULT {default}")),
        None => parts.extend(other.get("default").map(|_| format!("{alter} DROP DEFAULT"))),
    }
    if is_identity {
        parts.extend(identity(facets).map(|identity| format!("{alter} ADD {identity}")));
    }
    parts.join(";\n")
}

/// Another type, with the default that fits it.
fn retype(key: &ObjectKey, alter: &str, facets: &Facets, other: &Facets) -> String {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let type_name = get("type").unwrap_or_default();
    let collation = get("collation").map(|name| format!(" COLLATE {name}")).unwrap_or_default();
    let same_type = other.get("type").map(String::as_str) == Some(type_name);
    let using = match same_type {
        true => String::new(),
        false => format!(" USING {}::{type_name}", quoted(&key.name)),
    };
    let change = format!("{alter} TYPE {type_name}{collation}{using}");
    if same_type {
        return change;
    }
    // The old default may have no cast to the new type.
    let mut text = String::new();
    if other.contains_key("default") {
        text.push_str(&format!("{alter} DROP DEFAULT;\n"));
    }
    text.push_str(&change);
    if let Some(default) = get("default") {
        text.push_str(&format!(";\n{alter} SET DEFAULT {default}"));
    }
    text
}

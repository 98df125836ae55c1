//! Columns of PostgreSQL: added, changed, dropped.

use super::{Phase, Planner, create, quoted};
use crate::{
    catalog::{Catalog, Facets, Key},
    generate::{Action, Answers, Pair},
};

/// A column as CREATE TABLE and ADD COLUMN take it.
pub(super) fn definition(key: &Key, facets: &Facets, with_null: bool) -> String {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let mut text = format!("{} {}", quoted(&key.name), get("type").unwrap_or_default());
    if let Some(collation) = get("collation").filter(|name| *name != "\"default\"") {
        text.push_str(&format!(" COLLATE {collation}"));
    }
    if let Some(expression) = get("generated") {
        let storage = get("storage_of_generated").unwrap_or("STORED");
        text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) {storage}"));
    }
    if let Some(identity) = get("identity") {
        text.push_str(&format!(" GENERATED {identity} AS IDENTITY"));
    }
    if with_null && get("null") == Some("NOT NULL") {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = get("default") {
        text.push_str(&format!(" DEFAULT {default}"));
    }
    text
}

/// Adds a column to a table that is there. With a default that doesn't change within a statement no
/// row is rewritten; with a value that is computed the column is filled in batches first.
pub(super) fn add(catalog: &Catalog, key: &Key, answers: &Answers) -> Vec<Pair> {
    let none = Facets::new();
    let facets = catalog.objects.get(key).unwrap_or(&none);
    let table = quoted(&key.table);
    let (maybe_not, maybe) =
        if answers.is_tolerant { ("IF NOT EXISTS ", "IF EXISTS ") } else { ("", "") };
    let drop = format!("ALTER TABLE {table} DROP COLUMN {maybe}{}", quoted(&key.name));
    let fill = answers.fill(key);
    let add = format!(
        "ALTER TABLE {table} ADD COLUMN {maybe_not}{}",
        definition(key, facets, fill.is_none())
    );
    let mut first = Pair::sql(add, drop);
    if !facets.contains_key("generated") {
        first.down_loses = Some(format!("{} with its values", key.display()));
    }
    let mut pairs = vec![first];
    if let Some(value) = fill {
        pairs.push(Pair::of(
            Action::Fill {
                table: key.table.clone(),
                column: key.name.clone(),
                value: value.to_owned(),
            },
            Action::Nothing,
        ));
        if facets.get("null").map(String::as_str) == Some("NOT NULL") {
            pairs.extend(set_not_null(key));
        }
    }
    if let Some(text) = facets.get("comment") {
        pairs.push(Pair::of(Action::Sql(create::comment(key, Some(text))), Action::Nothing));
    }
    pairs
}

/// NOT NULL without reading the table under a lock that stops writes: a CHECK that isn't proven
/// yet, its proof, and then SET NOT NULL, which needs no scan of the table because of the CHECK.
fn set_not_null(key: &Key) -> Vec<Pair> {
    let (table, column) = (quoted(&key.table), quoted(&key.name));
    let check = quoted(&format!("{}_{}_not_null", key.table, key.name));
    let alter = format!("ALTER TABLE {table}");
    vec![
        Pair::sql(
            format!("{alter} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"),
            format!("{alter} DROP CONSTRAINT IF EXISTS {check}"),
        ),
        Pair::of(Action::Outside(format!("{alter} VALIDATE CONSTRAINT {check}")), Action::Nothing),
        Pair::sql(
            format!("{alter} ALTER COLUMN {column} SET NOT NULL, DROP CONSTRAINT {check}"),
            format!("{alter} ALTER COLUMN {column} DROP NOT NULL"),
        ),
    ]
}

impl Planner<'_> {
    pub(super) fn change_column(&mut self, old: &Key, new: &Key, facets: &[String]) {
        let none = Facets::new();
        let before = self.from.objects.get(old).unwrap_or(&none);
        let after = self.to.objects.get(new).unwrap_or(&none);
        let has = |name: &str| facets.iter().any(|facet| facet == name);
        // What a column is computed from can't be altered: it is made anew.
        if has("generated") || has("storage_of_generated") {
            self.drop(old);
            self.create(new);
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
        if has("default") && !has("type") {
            let statement = |facets: &Facets| match facets.get("default") {
                Some(default) => format!("{alter} SET DEFAULT {default}"),
                None => format!("{alter} DROP DEFAULT"),
            };
            self.push(Phase::AlterColumns, Pair::sql(statement(after), statement(before)));
        }
        if has("identity") {
            let statement =
                |now: &Facets, then: &Facets| match (now.get("identity"), then.get("identity")) {
                    (Some(how), None) => format!("{alter} ADD GENERATED {how} AS IDENTITY"),
                    (Some(how), Some(_)) => format!("{alter} SET GENERATED {how}"),
                    (None, _) => format!("{alter} DROP IDENTITY IF EXISTS"),
                };
            let pair = Pair::sql(statement(after, before), statement(before, after));
            self.push(Phase::AlterColumns, pair);
        }
        if has("null") {
            if after.get("null").map(String::as_str) == Some("NOT NULL") {
                if let Some(value) = self.answers.fill(new) {
                    let (table, column) = (new.table.clone(), new.name.clone());
                    let fill = Action::Fill { table, column, value: value.to_owned() };
                    self.push(Phase::AlterColumns, Pair::of(fill, Action::Nothing));
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

/// Another type, with the default that fits it.
fn retype(key: &Key, alter: &str, facets: &Facets, other: &Facets) -> String {
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

//! Columns of PostgreSQL that change.

use super::{
    columns::set_not_null,
    planner::{Phase, Planner},
    text::quoted,
};
use crate::{
    catalog::{Facets, Key},
    generate::{Action, Pair},
};

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

//! The steps of SQLite: changes beyond ALTER TABLE rebuild the table.

mod alter;

use std::collections::BTreeSet;

use super::{Answers, Pair, PlannedAction, order::depth};
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    drift::{Comparison, Difference, DifferenceKind},
    expression::{Engine, Token, tokens},
    sql::quoted,
};

/// The steps that make `comparison.expected` into `comparison.found`.
pub(super) fn pairs(comparison: &Comparison<'_>, answers: &Answers) -> Vec<Pair> {
    let planner = SqlitePlanner { from: comparison.expected, to: comparison.found, answers };
    let mut before = Vec::new();
    let mut renames = Vec::new();
    let mut tables = Vec::new();
    let mut after = Vec::new();
    let mut drops = Vec::new();
    let mut changed: BTreeSet<String> = BTreeSet::new();
    for difference in &comparison.differences {
        for (change, key) in planner.single(difference) {
            let owner = if key.kind == "table" { &key.name } else { &key.table };
            let is_there = planner.from.has_table(&comparison.renames.old_table(owner))
                && planner.to.has_table(&comparison.renames.new_table(owner));
            match (key.kind.as_str(), change) {
                ("table", DifferenceKind::Renamed) | ("column", DifferenceKind::Renamed) => {
                    renames.extend(planner.rename(difference));
                }
                ("table", DifferenceKind::Added) => tables.push(planner.make(planner.to, &key)),
                ("table", DifferenceKind::Removed) => {
                    drops.push(planner.make(planner.from, &key).reversed());
                }
                ("index" | "trigger" | "view", DifferenceKind::Added) => {
                    after.push((depth(planner.to, &key), planner.make(planner.to, &key)));
                }
                ("index" | "trigger" | "view", DifferenceKind::Removed) => {
                    let drop = planner.make(planner.from, &key).reversed();
                    before.push((-depth(planner.from, &key), drop));
                }
                // An index instead of a constraint, or the other way round, is one there and a
                // part of the table here.
                (_, DifferenceKind::Changed)
                    if text_of(&key) || difference.expected.as_ref().is_some_and(text_of) =>
                {
                    let old = difference.expected.clone().unwrap_or_else(|| key.clone());
                    if text_of(&old) {
                        let drop = planner.make(planner.from, &old).reversed();
                        before.push((-depth(planner.from, &old), drop));
                    }
                    if text_of(&key) {
                        after.push((depth(planner.to, &key), planner.make(planner.to, &key)));
                    }
                    if !text_of(&old) || !text_of(&key) {
                        changed.insert(comparison.renames.new_table(owner));
                    }
                }
                ("index" | "trigger" | "view", _) => {
                    let old = difference.expected.clone().unwrap_or_else(|| key.clone());
                    before.push((
                        -depth(planner.from, &old),
                        planner.make(planner.from, &old).reversed(),
                    ));
                    after.push((depth(planner.to, &key), planner.make(planner.to, &key)));
                }
                (_, DifferenceKind::Order) => {}
                _ if is_there => {
                    changed.insert(comparison.renames.new_table(owner));
                }
                _ => {}
            }
        }
    }
    let redefined = changed.iter().flat_map(|table| planner.change(comparison, table));
    // What others need comes first, and goes last.
    let ordered = |mut pairs: Vec<(i32, Pair)>| {
        pairs.sort_by_key(|(depth, _)| *depth);
        pairs.into_iter().map(|(_, pair)| pair).collect::<Vec<_>>()
    };
    let after = ordered(after);
    let mut pairs = ordered(before);
    pairs.extend(renames);
    pairs.extend(tables);
    pairs.extend(redefined);
    pairs.extend(after);
    pairs.extend(drops);
    pairs
}

/// Whether an object is made by a text of its own, and not as a part of its table.
fn text_of(key: &ObjectKey) -> bool {
    ["index", "trigger", "view"].contains(&key.kind.as_str())
}

struct SqlitePlanner<'a> {
    from: &'a Catalog,
    to: &'a Catalog,
    answers: &'a Answers,
}

impl SqlitePlanner<'_> {
    /// A difference and what goes along with it, each for itself.
    fn single(&self, difference: &Difference) -> Vec<(DifferenceKind, ObjectKey)> {
        let own = [(difference.change, difference.key().clone())];
        let along = difference.along.iter().map(|key| (difference.change, key.clone()));
        own.into_iter().chain(along).collect()
    }

    /// Makes an object by its text; the way back drops it.
    fn make(&self, catalog: &Catalog, key: &ObjectKey) -> Pair {
        let text = catalog.facet(key, "sql").unwrap_or_default();
        let kind = key.kind.to_uppercase();
        let name = quoted(&key.name);
        if !self.answers.is_tolerant {
            let mut pair = Pair::sql(text, format!("DROP {kind} {name}"));
            if key.kind == "table" {
                pair.down_loses = Some(format!("{} with its rows", key.name));
            }
            return pair;
        }
        let drop = format!("DROP {kind} IF EXISTS {name}");
        // An index or a trigger of the same name may be another one.
        let make = match key.kind.as_str() {
            "table" => if_not_exists(text),
            _ => format!("{drop};\n{text}"),
        };
        let mut pair = Pair::sql(make, drop);
        if key.kind == "table" {
            pair.down_loses = Some(format!("{} with its rows", key.name));
        }
        pair
    }

    fn rename(&self, difference: &Difference) -> Option<Pair> {
        let (old, new) = (difference.expected.as_ref()?, difference.found.as_ref()?);
        let (before, after) = (quoted(&old.name), quoted(&new.name));
        Some(match old.kind.as_str() {
            "table" => Pair::sql(
                format!("ALTER TABLE {before} RENAME TO {after}"),
                format!("ALTER TABLE {after} RENAME TO {before}"),
            ),
            _ => {
                let table = quoted(&new.table);
                Pair::sql(
                    format!("ALTER TABLE {table} RENAME COLUMN {before} TO {after}"),
                    format!("ALTER TABLE {table} RENAME COLUMN {after} TO {before}"),
                )
            }
        })
    }

    /// Changes a table: by ALTER TABLE where that can do it, else by making it anew.
    fn change(&self, comparison: &Comparison<'_>, table: &str) -> Vec<Pair> {
        // ALTER TABLE knows no IF NOT EXISTS, and so no database that hasn't drifted.
        let altered = match self.answers.is_tolerant {
            true => None,
            false => self.alter(comparison, table),
        };
        altered.unwrap_or_else(|| vec![self.redefine(comparison, table)])
    }

    /// Makes a table anew as the wanted schema has it.
    fn redefine(&self, comparison: &Comparison<'_>, table: &str) -> Pair {
        let old = comparison.renames.old_table(table);
        let text = |catalog: &Catalog, table: &str| {
            catalog.facet(&ObjectKey::new("table", "", table), "sql").unwrap_or_default().to_owned()
        };
        let mut before = text(self.from, &old);
        // At the beginning of the reverse, renamed columns still have their new names.
        for ((owner, from), to) in &comparison.renames.columns {
            if *owner == old {
                before = renamed(&before, from, to);
            }
        }
        let names = |catalog: &Catalog, table: &str| -> BTreeSet<String> {
            let all = catalog.columns(table).into_iter();
            let plain =
                all.filter(|(_, facets): &(&ObjectKey, &Facets)| !facets.contains_key("generated"));
            plain.map(|(key, _)| key.name.clone()).collect()
        };
        let new_names = names(self.to, table);
        let old_names: BTreeSet<String> = names(self.from, &old)
            .into_iter()
            .map(|name| comparison.renames.columns_of(&old).get(&name).cloned().unwrap_or(name))
            .collect();
        let fills = self.answers.fills.iter().filter(|(owner, _, _)| owner == table);
        let values = fills.map(|(_, column, value)| (column.clone(), value.clone())).collect();
        let define = |create: String, values| PlannedAction::Define {
            table: table.to_owned(),
            create,
            values,
        };
        let loses = |gone: Vec<&String>| {
            let names: Vec<String> = gone.iter().map(|name| format!("{table}.{name}")).collect();
            (!names.is_empty()).then(|| format!("{} with its values", names.join(", ")))
        };
        let (up_values, down_values) = (
            self.defaults(self.from, &old, self.to, table),
            self.defaults(self.to, table, self.from, &old),
        );
        let mut values: Vec<(String, String)> = values;
        for (column, value) in up_values {
            if !values.iter().any(|(known, _)| *known == column) {
                values.push((column, value));
            }
        }
        Pair {
            up: define(text(self.to, table), values),
            down: define(before, down_values),
            up_loses: loses(old_names.difference(&new_names).collect()),
            down_loses: loses(new_names.difference(&old_names).collect()),
        }
    }
}

impl SqlitePlanner<'_> {
    /// What rows get that have NULL where that isn't allowed any more: the column's default.
    fn defaults(
        &self,
        from: &Catalog,
        old: &str,
        to: &Catalog,
        new: &str,
    ) -> Vec<(String, String)> {
        let values = to.columns(new).into_iter().filter_map(|(key, facets)| {
            let before = ObjectKey::new("column", old, &key.name);
            let was_free = from.facet(&before, "null") == Some("NULL");
            let is_bound = facets.get("null").is_some_and(|null| null == "NOT NULL");
            let default = facets.get("default").filter(|_| was_free && is_bound)?;
            let name = quoted(&key.name);
            Some((key.name.clone(), format!("coalesce({name}, {default})")))
        });
        values.collect()
    }
}

/// `CREATE TABLE IF NOT EXISTS`, whatever the text begins with.
fn if_not_exists(text: &str) -> String {
    let words = tokens(Engine::Sqlite, text);
    let table = words.iter().find(|word| word.is("table"));
    match table {
        Some(word) => {
            let (before, after) = text.split_at(word.span.end);
            format!("{before} IF NOT EXISTS{after}")
        }
        None => text.to_owned(),
    }
}

/// The text with a name replaced wherever it stands as a name.
fn renamed(text: &str, old: &str, new: &str) -> String {
    let mut out = text.to_owned();
    for spanned in tokens(Engine::Sqlite, text).into_iter().rev() {
        let name = match &spanned.token {
            Token::Word(name) | Token::Quoted(name) => name,
            Token::Text(_) | Token::Number(_) | Token::Symbol(_) => continue,
        };
        if name.eq_ignore_ascii_case(old) {
            out.replace_range(spanned.span, &quoted(new));
        }
    }
    out
}

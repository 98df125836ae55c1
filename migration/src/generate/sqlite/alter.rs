//! What SQLite's ALTER TABLE can do of a change of a table, so that its rows needn't be copied: a
//! column that may be added after the last one, with its CHECKs, and a column that nothing names.

use super::{SqlitePlanner, quoted};
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    drift::{Comparison, DifferenceKind},
    expression::{Engine, identifiers, tokens},
    generate::{Pair, PlannedAction},
};

impl SqlitePlanner<'_> {
    /// The steps that change a table by ALTER TABLE; none if that can't be done.
    pub(super) fn alter(&self, comparison: &Comparison<'_>, table: &str) -> Option<Vec<Pair>> {
        let mut added: Vec<(ObjectKey, Vec<String>)> = Vec::new();
        let mut dropped = Vec::new();
        let mut checks = Vec::new();
        let single = comparison.differences.iter().flat_map(|one| self.single(one));
        for (change, key) in single.filter(|(_, key)| key.table == table) {
            match (key.kind.as_str(), change) {
                ("index" | "trigger", _) | ("column", DifferenceKind::Renamed) => {}
                ("column", DifferenceKind::Added) => added.push((key, Vec::new())),
                ("column", DifferenceKind::Removed) => dropped.push(key),
                ("check", DifferenceKind::Added) => checks.push(key),
                _ => return None,
            }
        }
        // A table that is gone or new isn't altered, and a new order of columns is none of ALTER.
        let is_plain = |change: DifferenceKind| change == DifferenceKind::Renamed;
        let of_table = comparison.differences.iter().filter(|one| one.key().kind == "table");
        if of_table.filter(|one| one.key().name == table).any(|one| !is_plain(one.change)) {
            return None;
        }
        for check in checks {
            let (column, text) = self.check_of(&check, &added)?;
            added[column].1.push(text);
        }
        let last = self.to.columns(table).len() - added.len();
        added.sort_by_key(|(key, _)| position(self.to, key));
        if added.iter().any(|(key, _)| position(self.to, key) <= last) {
            return None;
        }
        let additions = added.iter().map(|(key, checks)| self.addition(key, checks));
        let mut pairs = additions.collect::<Option<Vec<Pair>>>()?;
        for key in dropped {
            // Going back it would come last.
            if position(self.from, &key) != self.from.columns(&key.table).len() {
                return None;
            }
            pairs.push(self.removal(&key)?);
        }
        Some(pairs)
    }

    /// The new column that a CHECK is about, and the CHECK as a part of the column.
    fn check_of(
        &self,
        check: &ObjectKey,
        added: &[(ObjectKey, Vec<String>)],
    ) -> Option<(usize, String)> {
        let expression = self.to.facet(check, "expression")?;
        let names = identifiers(Engine::Sqlite, expression);
        let columns = self.to.columns(&check.table).into_iter();
        let named: Vec<&ObjectKey> =
            columns.map(|(key, _)| key).filter(|key| names.contains(&key.name)).collect();
        let [column] = named.as_slice() else { return None };
        let at = added.iter().position(|(key, _)| key == *column)?;
        let name = match check.name.starts_with("CHECK (") {
            true => String::new(),
            false => format!("CONSTRAINT {} ", quoted(&check.name)),
        };
        Some((at, format!("{name}CHECK ({expression})")))
    }

    /// ADD COLUMN, where SQLite allows it (its page "ALTER TABLE", section 4): without a key, NOT
    /// NULL only with a default, and that default a constant.
    fn addition(&self, key: &ObjectKey, checks: &[String]) -> Option<Pair> {
        let facets = self.to.objects.get(key)?;
        if self.answers.fill(key).is_some() {
            return None;
        }
        let definition = definition(key, facets, checks)?;
        let (table, name) = (quoted(&key.table), quoted(&key.name));
        let mut pair = Pair::sql(
            format!("ALTER TABLE {table} ADD COLUMN {definition}"),
            format!("ALTER TABLE {table} DROP COLUMN {name}"),
        );
        pair.down_loses = loses(key, facets);
        Some(pair)
    }

    /// DROP COLUMN, of a column that could be added again.
    fn removal(&self, key: &ObjectKey) -> Option<Pair> {
        let facets = self.from.objects.get(key)?;
        let definition = definition(key, facets, &[])?;
        let (table, name) = (quoted(&key.table), quoted(&key.name));
        let mut pair = Pair::of(
            PlannedAction::Sql(format!("ALTER TABLE {table} DROP COLUMN {name}")),
            PlannedAction::Sql(format!("ALTER TABLE {table} ADD COLUMN {definition}")),
        );
        pair.up_loses = loses(key, facets);
        Some(pair)
    }
}

fn position(catalog: &Catalog, key: &ObjectKey) -> usize {
    let names = catalog.columns(&key.table).into_iter().map(|(key, _)| key.name.clone());
    names.collect::<Vec<_>>().iter().position(|name| *name == key.name).map_or(0, |at| at + 1)
}

fn loses(key: &ObjectKey, facets: &Facets) -> Option<String> {
    (!facets.contains_key("generated")).then(|| format!("{} with its values", key.display()))
}

/// A column as ADD COLUMN takes it; none if it doesn't.
fn definition(key: &ObjectKey, facets: &Facets, checks: &[String]) -> Option<String> {
    let get = |facet: &str| facets.get(facet).map(String::as_str);
    let plain = ["type", "null", "default", "collation", "position", "sql"];
    if facets.keys().any(|facet| !plain.contains(&facet.as_str())) {
        return None;
    }
    let mut text = format!("{} {}", quoted(&key.name), get("type")?).trim_end().to_owned();
    if get("null") == Some("NOT NULL") {
        get("default")?;
        text.push_str(" NOT NULL");
    }
    if let Some(default) = get("default") {
        if !is_constant(default) {
            return None;
        }
        text.push_str(&format!(" DEFAULT {default}"));
    }
    if let Some(collation) = get("collation") {
        text.push_str(&format!(" COLLATE {}", quoted(collation)));
    }
    for check in checks {
        text.push_str(&format!(" {check}"));
    }
    Some(text)
}

/// Whether a default is a text or a number, not NULL and nothing that is computed.
fn is_constant(default: &str) -> bool {
    use crate::expression::Token;
    let words = tokens(Engine::Sqlite, default);
    let values = words.iter().filter(|one| matches!(one.token, Token::Text(_) | Token::Number(_)));
    let rest = words.iter().filter(|one| !matches!(one.token, Token::Text(_) | Token::Number(_)));
    let is_truth =
        |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    let mut others = 0;
    let signs = rest.clone().all(|one| match &one.token {
        Token::Symbol(symbol) => symbol == "-" || symbol == "+",
        Token::Word(word) => {
            others += 1;
            is_truth(word)
        }
        _ => false,
    });
    signs && values.count() + others == 1
}

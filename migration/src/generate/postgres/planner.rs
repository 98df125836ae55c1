//! The steps in their order.

use super::{
    super::{Action, Answers, Pair},
    create,
    text::{bare, comment, quoted, signature},
};
use crate::{
    catalog::{Catalog, Facets, Key},
    drift::{Change, Comparison},
};

/// The order of steps: what others depend on comes up first and goes down last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Rename,
    DropDependents,
    DropForeignKeys,
    DropIndexes,
    DropConstraints,
    CreateTypes,
    CreateTables,
    AddColumns,
    AlterColumns,
    AddConstraints,
    AddIndexes,
    AddForeignKeys,
    AddDependents,
    Properties,
    DropColumns,
    DropTables,
    DropTypes,
}

/// Gathers the pairs with their phases.
pub(super) struct Planner<'a> {
    pub(super) from: &'a Catalog,
    pub(super) to: &'a Catalog,
    pub(super) answers: &'a Answers,
    pairs: Vec<(Phase, Pair)>,
}

/// The steps that make `comparison.expected` into `comparison.found`.
pub(in crate::generate) fn pairs(comparison: &Comparison<'_>, answers: &Answers) -> Vec<Pair> {
    let mut planner =
        Planner { from: comparison.expected, to: comparison.found, answers, pairs: Vec::new() };
    for difference in &comparison.differences {
        let along = difference.along.iter();
        match difference.change {
            Change::Added => {
                for key in difference.found.iter().chain(along) {
                    planner.create(key);
                }
            }
            Change::Removed => {
                for key in difference.expected.iter().chain(along) {
                    planner.drop(key);
                }
            }
            Change::Renamed => {
                if let (Some(old), Some(new)) = (&difference.expected, &difference.found) {
                    planner.rename(old, new);
                }
            }
            Change::Changed => {
                if let (Some(old), Some(new)) = (&difference.expected, &difference.found) {
                    planner.change(old, new, &difference.facets);
                }
            }
            Change::Order => {}
        }
    }
    // A stable sort keeps the order of tables within a phase.
    planner.pairs.sort_by_key(|(phase, _)| *phase);
    planner.pairs.into_iter().map(|(_, pair)| pair).collect()
}

impl Planner<'_> {
    pub(super) fn push(&mut self, phase: Phase, pair: Pair) {
        self.pairs.push((phase, pair));
    }

    /// Makes an object of the wanted schema.
    pub(super) fn create(&mut self, key: &Key) {
        let to = self.to;
        self.make(to, key, false);
    }

    /// Drops an object of the old schema: making it, the other way.
    pub(super) fn drop(&mut self, key: &Key) {
        let from = self.from;
        self.make(from, key, true);
    }

    /// Makes an object of a catalog, or drops it where `reverse` says so.
    fn make(&mut self, catalog: &Catalog, key: &Key, reverse: bool) {
        let other = if reverse { self.to } else { self.from };
        // What is inside a new table comes with its CREATE TABLE.
        let in_new_table = !key.table.is_empty() && !other.has_table(&key.table);
        let inline = ["column", "primary key", "unique", "check", "exclusion"];
        if in_new_table && inline.contains(&key.kind.as_str()) {
            return;
        }
        let (up, down) = match key.kind.as_str() {
            "table" => (Phase::CreateTables, Phase::DropTables),
            "column" => (Phase::AddColumns, Phase::DropColumns),
            "index" => (Phase::AddIndexes, Phase::DropIndexes),
            "foreign key" => (Phase::AddForeignKeys, Phase::DropForeignKeys),
            "primary key" | "unique" | "check" | "exclusion" => {
                (Phase::AddConstraints, Phase::DropConstraints)
            }
            "function" | "type" | "sequence" | "extension" => {
                (Phase::CreateTypes, Phase::DropTypes)
            }
            _ => (Phase::AddDependents, Phase::DropDependents),
        };
        let mut pairs = create::pairs(catalog, key, self.answers, in_new_table);
        if reverse {
            pairs = pairs.into_iter().rev().map(Pair::reversed).collect();
        }
        for pair in pairs {
            self.push(if reverse { down } else { up }, pair);
        }
    }

    fn rename(&mut self, old: &Key, new: &Key) {
        let (before, after) = (quoted(&old.name), quoted(&new.name));
        let table = quoted(&new.table);
        let statement = |from: &str, to: &str| match old.kind.as_str() {
            "table" => format!("ALTER TABLE {from} RENAME TO {to}"),
            "column" => format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}"),
            "index" => format!("ALTER INDEX {from} RENAME TO {to}"),
            "trigger" => format!("ALTER TRIGGER {from} ON {table} RENAME TO {to}"),
            "function" => format!(
                "ALTER FUNCTION {} RENAME TO {}",
                signature(if from == before { &old.name } else { &new.name }),
                quoted(bare(if from == before { &new.name } else { &old.name }))
            ),
            _ => format!("ALTER TABLE {table} RENAME CONSTRAINT {from} TO {to}"),
        };
        let tolerant = |from: &Key, to: &Key, text: String| {
            if !self.answers.is_tolerant {
                return text;
            }
            create::unless(
                &create::exists(to),
                &format!("IF {} THEN {text}; END IF", create::exists(from)),
            )
        };
        let up = tolerant(old, new, statement(&before, &after));
        let down = tolerant(new, old, statement(&after, &before));
        self.push(Phase::Rename, Pair::sql(up, down));
    }

    fn change(&mut self, old: &Key, new: &Key, facets: &[String]) {
        match new.kind.as_str() {
            "column" => self.change_column(old, new, facets),
            "table" => self.change_table(old, new, facets),
            _ if facets == ["comment"] => self.comment(old, new),
            "foreign key" | "check" if facets == ["validity"] && self.is_valid(new) => {
                let (table, name) = (quoted(&new.table), quoted(&new.name));
                let validate = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}");
                self.push(
                    Phase::AddConstraints,
                    Pair::of(Action::Outside(validate), Action::Nothing),
                );
            }
            "index" if facets == ["validity"] => {
                let name = quoted(&new.name);
                let again = format!("REINDEX INDEX CONCURRENTLY {name}");
                self.push(Phase::AddIndexes, Pair::of(Action::Outside(again), Action::Nothing));
            }
            "function" if self.replaces(old, new) => {
                let sql = |catalog: &Catalog, key: &Key| {
                    catalog.facet(key, "sql").unwrap_or_default().trim().to_owned()
                };
                let pair = Pair::sql(sql(self.to, new), sql(self.from, old));
                self.push(Phase::CreateTypes, pair);
            }
            "trigger" | "rule" if facets == ["state"] => {
                let statement = |catalog: &Catalog, key: &Key| {
                    let state = match catalog.facet(key, "state") {
                        Some("DISABLED") => "DISABLE",
                        Some("REPLICA") => "ENABLE REPLICA",
                        Some(_) => "ENABLE ALWAYS",
                        None => "ENABLE",
                    };
                    let kind = key.kind.to_uppercase();
                    format!(
                        "ALTER TABLE {} {state} {kind} {}",
                        quoted(&key.table),
                        quoted(&key.name)
                    )
                };
                let pair = Pair::sql(statement(self.to, new), statement(self.from, old));
                self.push(Phase::Properties, pair);
            }
            _ => {
                self.drop(old);
                self.create(new);
            }
        }
    }

    fn is_valid(&self, key: &Key) -> bool {
        self.to.facet(key, "validity").is_none()
    }

    /// Whether CREATE OR REPLACE may make the function: its result is the same.
    fn replaces(&self, old: &Key, new: &Key) -> bool {
        let same = |facet: &str| self.from.facet(old, facet) == self.to.facet(new, facet);
        same("returns") && same("arguments") && same("form") && self.to.facet(new, "sql").is_some()
    }

    pub(super) fn comment(&mut self, old: &Key, new: &Key) {
        let statement = |catalog: &Catalog, key: &Key| comment(key, catalog.facet(key, "comment"));
        let pair = Pair::sql(statement(self.to, new), statement(self.from, old));
        self.push(Phase::Properties, pair);
    }

    fn change_table(&mut self, old: &Key, new: &Key, facets: &[String]) {
        let none = Facets::new();
        let before = self.from.objects.get(old).unwrap_or(&none);
        let after = self.to.objects.get(new).unwrap_or(&none);
        let table = quoted(&new.name);
        for facet in facets {
            let statement = |facets: &Facets| {
                let value = facets.get(facet).map(String::as_str);
                match facet.as_str() {
                    "persistence" => {
                        let how = if value.is_some() { "UNLOGGED" } else { "LOGGED" };
                        format!("ALTER TABLE {table} SET {how}")
                    }
                    "row_security" => {
                        let how = if value.is_some() { "ENABLE" } else { "DISABLE" };
                        format!("ALTER TABLE {table} {how} ROW LEVEL SECURITY")
                    }
                    "forced_row_security" => {
                        let how = if value.is_some() { "FORCE" } else { "NO FORCE" };
                        format!("ALTER TABLE {table} {how} ROW LEVEL SECURITY")
                    }
                    "replica_identity" => match value {
                        Some(how @ ("FULL" | "NOTHING")) => {
                            format!("ALTER TABLE {table} REPLICA IDENTITY {how}")
                        }
                        _ => format!("ALTER TABLE {table} REPLICA IDENTITY DEFAULT"),
                    },
                    "comment" => comment(new, value),
                    "rights_of_all" => match value {
                        Some(rights) => format!("GRANT {rights} ON {table} TO PUBLIC"),
                        None => format!("REVOKE ALL ON {table} FROM PUBLIC"),
                    },
                    "triggers_of_foreign_keys" => {
                        let how = if value.is_some() { "DISABLE" } else { "ENABLE" };
                        format!("ALTER TABLE {table} {how} TRIGGER ALL")
                    }
                    // A proof finds that it is still another one.
                    _ => String::new(),
                }
            };
            self.push(Phase::Properties, Pair::sql(statement(after), statement(before)));
        }
    }
}

//! The steps in their order.

use super::{
    super::{Answers, Pair, PlannedAction},
    conditions::{exists, unless},
    create,
    objects::state,
    properties::{PROPERTIES, property},
    text::{comment, quoted, signature},
};
use crate::{
    catalog::{Catalog, ObjectKey},
    drift::{Comparison, DifferenceKind, bare},
    generate::order::{depth, needs_new_table},
    roles,
};

/// The order of steps: what others depend on comes up first and goes down last. Steps before
/// [`Phase::Rename`] name what the old schema has, and those after it what the new one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    DropDependents,
    DropForeignKeys,
    DropIndexes,
    DropConstraints,
    DropConflictingTables,
    Rename,
    CreateTypes,
    CreateTables,
    AddColumns,
    AlterColumns,
    OwnSequences,
    AddConstraints,
    AddIndexes,
    AddForeignKeys,
    AddDependents,
    Properties,
    DropColumns,
    DropTables,
    DropTypes,
}

/// The kinds of objects that may need others of the same phase.
const NEEDS_ORDER: &[&str] =
    &["table", "view", "type", "function", "sequence", "trigger", "rule", "policy"];

/// Gathers the pairs with their phases.
pub(super) struct PostgresPlanner<'a> {
    pub(super) from: &'a Catalog,
    pub(super) to: &'a Catalog,
    pub(super) answers: &'a Answers,
    /// The pairs, each with its phase and its place in it.
    pairs: Vec<(Phase, i32, Pair)>,
}

/// The steps that make `comparison.expected` into `comparison.found`.
pub(in crate::generate) fn pairs(comparison: &Comparison<'_>, answers: &Answers) -> Vec<Pair> {
    let mut planner = PostgresPlanner {
        from: comparison.expected,
        to: comparison.found,
        answers,
        pairs: Vec::new(),
    };
    for difference in &comparison.differences {
        let along = difference.along.iter();
        match difference.change {
            DifferenceKind::Added => {
                for key in difference.found.iter().chain(along) {
                    planner.create(key);
                }
            }
            DifferenceKind::Removed => {
                for key in difference.expected.iter().chain(along) {
                    planner.drop(key);
                }
            }
            DifferenceKind::Renamed => {
                if let (Some(old), Some(new)) = (&difference.expected, &difference.found) {
                    planner.rename(old, new);
                }
            }
            DifferenceKind::Changed => {
                if let (Some(old), Some(new)) = (&difference.expected, &difference.found) {
                    planner.change(old, new, &difference.facets);
                }
            }
            DifferenceKind::Order => {}
        }
    }
    // A stable sort keeps the order of tables within a phase.
    planner.pairs.sort_by_key(|(phase, place, _)| (*phase, *place));
    planner.pairs.into_iter().map(|(_, _, pair)| pair).collect()
}

impl PostgresPlanner<'_> {
    pub(super) fn push(&mut self, phase: Phase, pair: Pair) {
        self.pairs.push((phase, 0, pair));
    }

    /// Makes an object of the wanted schema.
    fn create(&mut self, key: &ObjectKey) {
        let to = self.to;
        self.make(to, key, false);
    }

    /// Drops an object of the old schema: making it, the other way.
    fn drop(&mut self, key: &ObjectKey) {
        let from = self.from;
        self.make(from, key, true);
    }

    /// Makes an object of a catalog, or drops it where `reverse` says so.
    fn make(&mut self, catalog: &Catalog, key: &ObjectKey, reverse: bool) {
        let other = if reverse { self.to } else { self.from };
        // Parts of a new table are created by its CREATE TABLE.
        let renames = &self.answers.renames;
        let there =
            if reverse { renames.new_table(&key.table) } else { renames.old_table(&key.table) };
        let in_new_table = !key.table.is_empty() && !other.has_table(&there);
        let inline = ["column", "primary key", "unique", "check", "exclusion"];
        if in_new_table && catalog.has_table(&key.table) && inline.contains(&key.kind.as_str()) {
            self.make_properties(catalog, key, &["comment"], reverse);
            return;
        }
        if key.kind == "table" {
            self.make_properties(catalog, key, PROPERTIES, reverse);
        }
        let is_of_view = !key.table.is_empty() && !catalog.has_table(&key.table);
        let is_late =
            is_of_view || (key.kind == "function" && needs_new_table(catalog, key, other));
        let (up, down) = match key.kind.as_str() {
            _ if is_late => (Phase::AddDependents, Phase::DropDependents),
            "table" if shares_index_name(catalog, key, other) => {
                (Phase::CreateTables, Phase::DropConflictingTables)
            }
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
        // What others need comes first, and goes last.
        let depth = match NEEDS_ORDER.contains(&key.kind.as_str()) || is_late {
            true => depth(catalog, key),
            false => 0,
        };
        let mut pairs = create::pairs(catalog, key, self.answers, in_new_table);
        if reverse {
            pairs = pairs.into_iter().rev().map(Pair::reversed).collect();
        }
        if key.kind == "table" {
            let columns: Vec<String> = catalog
                .columns(&key.name)
                .into_iter()
                .map(|(column, _)| column.name.clone())
                .collect();
            let grants = roles::grant_new(&key.name, &columns);
            let pair = Pair::of(PlannedAction::Sql(grants), PlannedAction::Nothing);
            // A revision that is reverted makes the table again before it grants it.
            match reverse {
                true => self.push(Phase::DropDependents, pair.reversed()),
                false => self.push(Phase::AddDependents, pair),
            }
        }
        for pair in pairs {
            let (phase, place) = if reverse { (down, -depth) } else { (up, depth) };
            self.pairs.push((phase, place, pair));
        }
        if let ("sequence", Some(owner)) = (key.kind.as_str(), catalog.facet(key, "owned_by")) {
            let maybe = if self.answers.is_tolerant { "IF EXISTS " } else { "" };
            let alter = format!("ALTER SEQUENCE {maybe}{} OWNED BY", quoted(&key.name));
            let pair = Pair::sql(format!("{alter} {owner}"), format!("{alter} NONE"));
            let (phase, pair) = match reverse {
                true => (Phase::DropDependents, pair.reversed()),
                false => (Phase::OwnSequences, pair),
            };
            self.push(phase, pair);
        }
    }

    /// Sets what an object of a new table has beside its definition. It goes with the table.
    fn make_properties(
        &mut self,
        catalog: &Catalog,
        key: &ObjectKey,
        facets: &[&str],
        reverse: bool,
    ) {
        for facet in facets {
            let Some(value) = catalog.facet(key, facet) else { continue };
            let set = PlannedAction::Sql(property(catalog, key, facet, Some(value)));
            let pair = Pair::of(set, PlannedAction::Nothing);
            match reverse {
                true => self.push(Phase::DropDependents, pair.reversed()),
                false => self.push(Phase::Properties, pair),
            }
        }
    }

    fn rename(&mut self, old: &ObjectKey, new: &ObjectKey) {
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
        let tolerant = |from: &ObjectKey, to: &ObjectKey, text: String| {
            if !self.answers.is_tolerant {
                return text;
            }
            unless(&exists(to), &format!("IF {} THEN {text}; END IF", exists(from)))
        };
        let up = tolerant(old, new, statement(&before, &after));
        let down = tolerant(new, old, statement(&after, &before));
        // The steps for what a table has use its new name.
        let place = if old.kind == "table" { -1 } else { 0 };
        self.pairs.push((Phase::Rename, place, Pair::sql(up, down)));
    }

    fn change(&mut self, old: &ObjectKey, new: &ObjectKey, facets: &[String]) {
        match new.kind.as_str() {
            "column" => self.change_column(old, new, facets),
            "table" => self.change_table(old, new, facets),
            _ if facets == ["comment"] => self.comment(old, new),
            "foreign key" | "check" if facets == ["validity"] && self.is_valid(new) => {
                let (table, name) = (quoted(&new.table), quoted(&new.name));
                let validate = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}");
                self.push(
                    Phase::AddConstraints,
                    Pair::of(PlannedAction::Outside(validate), PlannedAction::Nothing),
                );
            }
            _ if facets == ["constraint"] && self.answers.is_tolerant => self.exchange(old, new),
            "index" | "primary key" | "unique" if matches!(facets, [one] if one.ends_with("validity")) =>
            {
                let name = quoted(&new.name);
                let again = format!("REINDEX INDEX CONCURRENTLY {name}");
                self.push(
                    Phase::AddIndexes,
                    Pair::of(PlannedAction::Outside(again), PlannedAction::Nothing),
                );
            }
            "function" if self.replaces(old, new) => {
                let sql = |catalog: &Catalog, key: &ObjectKey| {
                    catalog.facet(key, "sql").unwrap_or_default().trim().to_owned()
                };
                let pair = Pair::sql(sql(self.to, new), sql(self.from, old));
                self.push(Phase::CreateTypes, pair);
            }
            "trigger" | "rule" if facets == ["state"] => {
                let statement =
                    |catalog: &Catalog, key: &ObjectKey| state(key, catalog.facet(key, "state"));
                let pair = Pair::sql(statement(self.to, new), statement(self.from, old));
                self.push(Phase::Properties, pair);
            }
            _ => {
                self.drop(old);
                self.create(new);
            }
        }
    }

    fn is_valid(&self, key: &ObjectKey) -> bool {
        self.to.facet(key, "validity").is_none()
    }

    /// Whether CREATE OR REPLACE may make the function: its result is the same.
    fn replaces(&self, old: &ObjectKey, new: &ObjectKey) -> bool {
        let same = |facet: &str| self.from.facet(old, facet) == self.to.facet(new, facet);
        same("returns") && same("arguments") && same("form") && self.to.facet(new, "sql").is_some()
    }

    pub(super) fn comment(&mut self, old: &ObjectKey, new: &ObjectKey) {
        let statement = |catalog: &Catalog, key: &ObjectKey| {
            comment(catalog, key, catalog.facet(key, "comment"))
        };
        let pair = Pair::sql(statement(self.to, new), statement(self.from, old));
        self.push(Phase::Properties, pair);
    }
}

/// Whether an index of a table has the name of one of the other schema: names of indexes are unique
/// in a schema (PostgreSQL, CREATE INDEX), so the table must go before that one is made.
fn shares_index_name(catalog: &Catalog, table: &ObjectKey, other: &Catalog) -> bool {
    let is_index =
        |key: &ObjectKey| ["index", "primary key", "unique", "exclusion"].contains(&&*key.kind);
    let mut own = catalog.of_table(&table.name).filter(|(key, _)| is_index(key));
    own.any(|(key, _)| other.objects.keys().any(|one| is_index(one) && one.name == key.name))
}

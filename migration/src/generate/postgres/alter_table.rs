//! Changes of a table as a whole, and of a constraint into an index.

use super::{
    conditions::{exists, unless},
    planner::{Phase, PostgresPlanner},
    properties::property,
    text::quoted,
};
use crate::{
    catalog::{Catalog, Facets, ObjectKey},
    generate::Pair,
};

impl PostgresPlanner<'_> {
    pub(super) fn change_table(&mut self, old: &ObjectKey, new: &ObjectKey, facets: &[String]) {
        let none = Facets::new();
        let before = self.from.objects.get(old).unwrap_or(&none);
        let after = self.to.objects.get(new).unwrap_or(&none);
        for facet in facets {
            let statement = |catalog: &Catalog, facets: &Facets| {
                property(catalog, new, facet, facets.get(facet).map(String::as_str))
            };
            let pair = Pair::sql(statement(self.to, after), statement(self.from, before));
            self.push(Phase::Properties, pair);
        }
    }

    /// A constraint instead of an index of the same name, or an index instead of a constraint, in
    /// one step that does nothing where that is so already.
    pub(super) fn exchange(&mut self, old: &ObjectKey, new: &ObjectKey) {
        let statement = |catalog: &Catalog, key: &ObjectKey| {
            let make = catalog.facet(key, "sql").unwrap_or_default();
            let (table, name) = (quoted(&key.table), quoted(&key.name));
            let drop = format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}");
            match key.kind.as_str() {
                "index" => format!("{drop};\nDROP INDEX IF EXISTS {name};\n{make}"),
                _ => unless(
                    &exists(key),
                    &format!(
                        "DROP INDEX IF EXISTS {name};\nALTER TABLE {table} ADD CONSTRAINT {name} {make}"
                    ),
                ),
            }
        };
        let pair = Pair::sql(statement(self.to, new), statement(self.from, old));
        self.push(Phase::AddConstraints, pair);
    }
}

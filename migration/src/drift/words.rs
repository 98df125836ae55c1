//! Differences as findings.

use super::{Comparison, Difference, DifferenceKind, Finding, Severity, repair};
use crate::catalog::{Catalog, Facets, ObjectKey};

impl Comparison<'_> {
    /// The differences as findings, errors first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            self.differences.iter().flat_map(|difference| self.words(difference)).collect();
        findings.sort_by_key(|finding| finding.level);
        findings
    }

    fn words(&self, difference: &Difference) -> Vec<Finding> {
        let key = difference.key();
        let (repair, repair_loses) = repair::of(self, difference, None);
        let finding = Finding {
            kind: format!("{}.{}", key.kind, word(difference.change)),
            object: key.display(),
            table: match key.kind.as_str() {
                "table" => Some(key.name.clone()),
                _ => Some(key.table.clone()).filter(|table| !table.is_empty()),
            },
            level: level(difference),
            expected: difference.expected.as_ref().map(|key| summary(self.expected, key)),
            found: difference.found.as_ref().map(|key| summary(self.found, key)),
            along: difference.along.iter().map(ObjectKey::display).collect(),
            repair,
            repair_loses,
        };
        match difference.change {
            DifferenceKind::Added | DifferenceKind::Removed => vec![finding],
            DifferenceKind::Renamed => vec![Finding {
                expected: difference.expected.as_ref().map(|key| key.name.clone()),
                found: difference.found.as_ref().map(|key| key.name.clone()),
                ..finding
            }],
            DifferenceKind::Order => {
                let order = |catalog: &Catalog, key: &Option<ObjectKey>| {
                    let table = key.as_ref().map(|key| key.name.clone()).unwrap_or_default();
                    let columns = catalog.columns(&table).into_iter();
                    Some(columns.map(|(key, _)| key.name.clone()).collect::<Vec<_>>().join(", "))
                };
                vec![Finding {
                    expected: order(self.expected, &difference.expected),
                    found: order(self.found, &difference.found),
                    ..finding
                }]
            }
            DifferenceKind::Changed => self.changed(difference, &finding),
        }
    }

    /// A finding for each facet of a table and of a column; of the others one in all.
    fn changed(&self, difference: &Difference, finding: &Finding) -> Vec<Finding> {
        let key = difference.key();
        let groups: Vec<Vec<&String>> = match key.kind.as_str() {
            "table" | "column" => difference.facets.iter().map(|facet| vec![facet]).collect(),
            _ => vec![difference.facets.iter().collect()],
        };
        let said = |catalog: &Catalog, key: &Option<ObjectKey>, facets: &[&String]| {
            let key = key.as_ref()?;
            let value = |facet: &str| match facet {
                "constraint" => Some(summary(catalog, key)),
                _ => catalog.facet(key, facet).map(shown),
            };
            let values: Vec<String> = match facets {
                [facet] => value(facet).into_iter().collect(),
                _ => facets
                    .iter()
                    .filter_map(|facet| Some(format!("{facet}: {}", value(facet)?)))
                    .collect(),
            };
            (!values.is_empty()).then(|| values.join("; "))
        };
        let finding = |facets: Vec<&String>| {
            let (repair, repair_loses) = repair::of(self, difference, facets.first().copied());
            Finding {
                kind: format!("{}.{}", key.kind, facets.first().map_or("changed", |name| name)),
                expected: said(self.expected, &difference.expected, &facets),
                found: said(self.found, &difference.found, &facets),
                repair,
                repair_loses,
                ..finding.clone()
            }
        };
        let mut findings: Vec<Finding> = groups.into_iter().map(finding).collect();
        if key.is_constraint() || key.kind == "index" {
            // A constraint is short, and its columns say what it is about.
            for finding in &mut findings {
                finding.expected =
                    difference.expected.as_ref().map(|key| summary(self.expected, key));
                finding.found = difference.found.as_ref().map(|key| summary(self.found, key));
            }
        }
        findings
    }
}

fn word(change: DifferenceKind) -> &'static str {
    match change {
        DifferenceKind::Added => "added",
        DifferenceKind::Removed => "removed",
        DifferenceKind::Renamed => "renamed",
        DifferenceKind::Changed => "changed",
        DifferenceKind::Order => "order",
    }
}

/// Extensions and the order of columns are what no migration makes.
fn level(difference: &Difference) -> Severity {
    let is_note =
        difference.change == DifferenceKind::Order || difference.key().kind == "extension";
    if is_note { Severity::Note } else { Severity::Error }
}

/// An object in a line: `bigint NOT NULL DEFAULT 1`.
fn summary(catalog: &Catalog, key: &ObjectKey) -> String {
    let none = Facets::new();
    let facets = catalog.objects.get(key).unwrap_or(&none);
    let get = |facet: &str| facets.get(facet).map(|value| shown(value));
    let mut words = vec![key.kind.clone()];
    if key.kind == "table" {
        let columns = catalog.columns(&key.name);
        let names: Vec<&str> = columns.iter().map(|(key, _)| key.name.as_str()).collect();
        return format!("table ({})", names.join(", "));
    }
    let before = ["form", "uniqueness", "type", "method", "keys", "columns", "expression"];
    for facet in before {
        words.extend(get(facet).filter(|value| *value != key.kind).map(|value| match facet {
            "keys" | "columns" | "expression" => format!("({value})"),
            _ => value,
        }));
    }
    let hidden = ["sql", "position", "body"];
    for (facet, value) in facets {
        let name = facet.as_str();
        if before.contains(&name) || hidden.contains(&name) {
            continue;
        }
        words.push(match name {
            "null" | "deferrable" | "validity" => shown(value),
            _ => format!("{} {}", name.replace('_', " ").to_uppercase(), shown(value)),
        });
    }
    words.join(" ")
}

/// A facet as text: in one line, and cut to a readable length.
fn shown(value: &str) -> String {
    /// The longest text of a facet that is shown whole, in characters.
    const MOST: usize = 300;
    let value = value.replace('\n', ", ").replace('\t', "");
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}

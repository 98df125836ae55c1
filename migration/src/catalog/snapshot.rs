//! A catalog as a text: a line a facet, tab-separated, sorted, so that a change is a short diff.

use thiserror::Error;

use super::{Catalog, ObjectKey};
use crate::expression::Engine;

/// A text that is no snapshot.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line} of the snapshot has not five columns")]
pub struct SnapshotError {
    /// The line, from 1.
    pub line: usize,
}

impl Catalog {
    /// The text of the catalog: kind, table, name, facet and value, with `\n`, `\t` and `\\`
    /// escaped.
    pub fn to_snapshot(&self) -> String {
        let mut text = String::new();
        for (key, facets) in &self.objects {
            for (facet, value) in facets {
                let cells = [&key.kind, &key.table, &key.name, facet, value];
                text.push_str(&cells.map(|cell| escape(cell)).join("\t"));
                text.push('\n');
            }
        }
        text
    }

    /// The catalog of a text.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn from_snapshot(engine: Engine, text: &str) -> Result<Self, SnapshotError> {
        let mut catalog = Self::new(engine);
        for (at, line) in text.lines().enumerate() {
            let cells: Vec<String> = line.split('\t').map(unescape).collect();
            let [kind, table, name, facet, value] = cells.as_slice() else {
                return Err(SnapshotError { line: at + 1 });
            };
            catalog.set(&ObjectKey::new(kind, table, name), facet, value.as_str());
        }
        Ok(catalog)
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> String {
    let (mut plain, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            }),
            _ => plain.push(character),
        }
    }
    plain
}

#[test]
fn a_snapshot_is_read_back() {
    let mut catalog = Catalog::new(Engine::Postgres);
    catalog.set(&ObjectKey::new("index", "books", "i"), "keys", "a\t DESC\nb\\n\t");
    catalog.set(&ObjectKey::new("table", "", "books"), "form", "table");
    let text = catalog.to_snapshot();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(Catalog::from_snapshot(Engine::Postgres, &text), Ok(catalog));
    let broken = Catalog::from_snapshot(Engine::Postgres, "a\tb");
    assert_eq!(broken, Err(SnapshotError { line: 1 }));
}

//! No two types of the crates under `server/` have the same name, so that a search for the name
//! finds one definition. Rust allows such names, and clippy has no lint for them.
//!
//! Only types at the level of a module count. Associated types and types inside functions or test
//! modules don't.

use std::collections::BTreeMap;

use regex::Regex;

use super::{files, source::Source};

/// Names that every file of a kind gives to its own type, with the reason.
const PER_FILE: &[(&str, &str)] = &[
    ("Arguments", "the command line of one subcommand"),
    ("Service", "the implementation of one service of the contract"),
];

/// Names that still have several definitions. All files but one are to give them up.
const KNOWN: &[&str] = &[
    "Answer",
    "Broken",
    "Call",
    "Calls",
    "Columns",
    "Consistency",
    "Draft",
    "Entry",
    "Execute",
    "Export",
    "Field",
    "FieldViolation",
    "Fields",
    "Inner",
    "Item",
    "Limits",
    "Line",
    "Plan",
    "Row",
    "Running",
    "Server",
    "Session",
    "Shared",
    "Start",
    "Stopped",
    "Target",
    "Transaction",
    "Values",
    "Wishes",
];

/// The names that several files define, each with those files.
fn ambiguous<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, Vec<&'a str>> {
    let pattern = r"(?m)^(?:pub(?:\([a-z: ]+\))? )?(?:struct|enum|trait|union|type) (\w+)";
    let definition = Regex::new(pattern).expect("a pattern");
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, text) in files {
        for found in definition.captures_iter(&Source::parse(text).code) {
            names.entry(found[1].to_owned()).or_default().push(path);
        }
    }
    names.retain(|name, paths| {
        paths.len() > 1 && PER_FILE.iter().all(|(exception, _)| exception != name)
    });
    names
}

#[test]
fn every_type_name_has_one_definition() {
    let files = files(".rs");
    let server = files.iter().filter(|(path, _)| path.starts_with("server/"));
    let names = ambiguous(server.map(|(path, text)| (path.as_str(), text.as_str())));
    let violations: Vec<String> = names
        .iter()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .map(|(name, paths)| format!("{name}: {}", paths.join(", ")))
        .collect();
    assert!(violations.is_empty(), "types of the same name:\n{}", violations.join("\n"));
    let settled: Vec<_> = KNOWN.iter().filter(|name| !names.contains_key(**name)).collect();
    assert!(settled.is_empty(), "these names have one definition; remove them here: {settled:?}");
}

#[test]
fn second_type_of_a_name_is_reported() {
    let one = ("a.rs", "pub(crate) struct Order;\npub struct Service;\nmod x {\n    struct In;\n}");
    let alias = ("b.rs", "type Order = u8; // struct Comment\nstruct Service;\nenum In {}");
    let names = ambiguous([one, alias].into_iter());
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [("Order".to_owned(), vec!["a.rs", "b.rs"])]);
    assert!(ambiguous([one].into_iter()).is_empty());
}

//! No two types of the service's crates have the same name, so that a search for the name
//! finds one definition. Rust allows such names, and clippy has no lint for them.
//!
//! Only types at the level of a module count. Associated types and types inside functions or test
//! modules don't.

use std::collections::BTreeMap;

use regex::Regex;

use super::{files, source::Source};

/// Names that several files may give to a type, with the reason.
const SHARED: &[(&str, &str)] = &[
    ("Arguments", "the command line of one subcommand"),
    ("Consistency", "the values of the metadata `consistency`, at the service and at its client"),
    ("Service", "the implementation of one service of the contract"),
    ("Transaction", "a transaction: the store's in the database, the client's by Transact"),
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
        paths.len() > 1 && SHARED.iter().all(|(exception, _)| exception != name)
    });
    names
}

#[test]
fn every_type_name_has_one_definition() {
    let files = files(".rs");
    let inside = |path: &str| path.starts_with("server/") || path.starts_with("migration/");
    let server = files.iter().filter(|(path, _)| inside(path));
    let names = ambiguous(server.map(|(path, text)| (path.as_str(), text.as_str())));
    let violations: Vec<String> =
        names.iter().map(|(name, paths)| format!("{name}: {}", paths.join(", "))).collect();
    assert!(violations.is_empty(), "types of the same name:\n{}", violations.join("\n"));
}

#[test]
fn second_type_of_a_name_is_reported() {
    let one = ("a.rs", "pub(crate) struct Order;\npub struct Service;\nmod x {\n    struct In;\n}");
    let alias = ("b.rs", "type Order = u8; // struct Comment\nstruct Service;\nenum In {}");
    let names = ambiguous([one, alias].into_iter());
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [("Order".to_owned(), vec!["a.rs", "b.rs"])]);
    assert!(ambiguous([one].into_iter()).is_empty());
}

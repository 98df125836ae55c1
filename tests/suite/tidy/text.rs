//! Rules for every file: its length, its doc, and forbidden texts.

use std::path::Path;

use regex::Regex;

use super::source::Source;

const MOST_LINES: usize = 400;
const MOST_DOC_LINES: usize = 5;

/// A Rust file is short enough to be read at once, and begins with its doc. missing_docs accepts an
/// empty doc, and no lint limits a file's length.
pub(super) fn shape(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        violations.push(format!("{path}: {lines} lines, at most {MOST_LINES}"));
    }
    let documentation = text.lines().take_while(|line| line.starts_with("//!")).count();
    if documentation == 0 {
        violations.push(format!("{path}: doesn't begin with `//!` and what it holds"));
    }
    // The map of a crate may be longer.
    if documentation > MOST_DOC_LINES && !path.ends_with("lib.rs") {
        violations
            .push(format!("{path}: {documentation} lines of `//!`, at most {MOST_DOC_LINES}"));
    }
    violations
}

/// No test is switched off; a long one becomes a trial. Clippy forbids `todo!`, `dbg!` and
/// `#[allow]` (workspace lints in `Cargo.toml`), but it accepts `#[ignore]` with a reason.
pub(super) fn ignored_tests(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let ignored = lines.filter(|(_, line)| line.trim_start().starts_with("#[ignore"));
    ignored.map(|(at, _)| format!("{path}:{}: #[ignore]: make it a trial", at + 1)).collect()
}

/// The files that may send transaction control as SQL, each with its reason.
const TRANSACTIONS: &[(&str, &str)] = &[
    ("server/store/src/transaction/commands.rs", "the one place that begins and commits"),
    ("server/store/src/session/command_tag.rs", "the names of commands in metrics; it sends none"),
    ("server/src/command/backup/postgres.rs", "the session of psql of a backup or a restore"),
    ("server/client/src/tls.rs", "the header of a PEM file in its tests; it has no database"),
];

/// Only the store's transaction code begins, commits or rolls back. The types can't prevent it,
/// since any connection accepts any SQL.
pub(super) fn transaction_words(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("server/") || TRANSACTIONS.iter().any(|(place, _)| path == *place) {
        return Vec::new();
    }
    // Uppercase words are SQL; lowercase words only if they make a whole statement.
    let words = concat!(
        r"\b(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|START TRANSACTION)\b",
        r"|(?i)^\s*(begin|commit|rollback|savepoint|start transaction)\b[\w\s]*;",
        r"|(?i)^\s*(begin|commit|rollback)\s*$|(?i)^\s*(begin (immediate|transaction)|savepoint \w)",
    );
    let words = Regex::new(words).expect("a pattern");
    let strings = Source::parse(text).strings;
    let matching = strings.iter().filter(|(_, literal)| words.is_match(literal));
    matching
        .map(|(line, literal)| {
            format!("{path}:{line}: {literal:?} belongs to store/transaction/commands.rs")
        })
        .collect()
}

/// The links of a document lead to existing files. rustdoc checks only its own links.
pub(super) fn links(root: &Path, path: &str, text: &str) -> Vec<String> {
    let link = Regex::new(r"\]\(([^()\s]+)\)").expect("a pattern");
    let folder = root.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut violations = Vec::new();
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        for found in link.captures_iter(line).filter(|_| !in_code) {
            let target = found[1].split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') && !folder.join(target).exists() {
                violations.push(format!("{path}:{}: no file {target}", at + 1));
            }
        }
    }
    violations
}

#[test]
fn long_file_and_file_without_doc_are_reported() {
    assert!(shape("a.rs", &format!("//! A.\n{}", "x\n".repeat(399))).is_empty());
    assert_eq!(shape("a.rs", &format!("//! A.\n{}", "x\n".repeat(400))).len(), 1);
    assert_eq!(shape("a.rs", "use x;\n//! late\n").len(), 1);
    assert_eq!(shape("a.rs", &"//! A.\n".repeat(6)).len(), 1);
    assert!(shape("a/lib.rs", &"//! A.\n".repeat(6)).is_empty());
}

#[test]
fn ignored_test_is_reported() {
    assert_eq!(ignored_tests("a.rs", "#[test]\n    #[ignore = \"x\"]\nfn f() {}").len(), 1);
    assert!(ignored_tests("a.rs", "let a = \"#[ignore\";").is_empty());
}

#[test]
fn transaction_control_in_a_string_is_reported() {
    let find = |text: &str| transaction_words("server/src/resource/book/operations.rs", text).len();
    for bad in ["BEGIN", "x; COMMIT", "begin;", "commit", "begin immediate", "rollback to a;"] {
        assert_eq!(find(&format!("let a = \"{bad}\";")), 1, "{bad}");
    }
    for good in ["COMMIT_OUTCOME_UNKNOWN", "the commit failed", "beginning", "begin is late"] {
        assert_eq!(find(&format!("let a = \"{good}\"; // COMMIT")), 0, "{good}");
    }
    assert!(transaction_words("server/store/src/transaction/commands.rs", "\"BEGIN\"").is_empty());
}

#[test]
fn dead_link_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("there.md"), "").expect("a file");
    let text = "[a](there.md#x) [b](https://example.org) [c](#here)\n[d](gone.md)\n";
    assert_eq!(links(folder.path(), "README.md", text), ["README.md:2: no file gone.md"]);
}

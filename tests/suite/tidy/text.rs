//! Rules for every file: its size, its first words, and texts that must not stand in it.

use std::path::Path;

use regex::Regex;

use super::source::Source;

const MOST_LINES: usize = 400;
const MOST_DOC_LINES: usize = 5;

/// A Rust file is short enough to be read in one go, and says first what it holds.
pub(super) fn shape(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        faults.push(format!("{path}: {lines} lines, at most {MOST_LINES}"));
    }
    let documentation = text.lines().take_while(|line| line.starts_with("//!")).count();
    if documentation == 0 {
        faults.push(format!("{path}: doesn't begin with `//!` and what it holds"));
    }
    // The map of a crate may be longer.
    if documentation > MOST_DOC_LINES && !path.ends_with("lib.rs") {
        faults.push(format!("{path}: {documentation} lines of `//!`, at most {MOST_DOC_LINES}"));
    }
    faults
}

/// No test is switched off: a long one is a trial. Clippy forbids `todo!`, `dbg!` and `#[allow]`
/// (workspace lints in `Cargo.toml`), but it lets `#[ignore]` pass where a reason stands behind it.
pub(super) fn ignored_tests(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let ignored = lines.filter(|(_, line)| line.trim_start().starts_with("#[ignore"));
    ignored.map(|(at, _)| format!("{path}:{}: #[ignore]: make it a trial", at + 1)).collect()
}

/// The files that may send transaction control as SQL, each with its reason.
const TRANSACTIONS: &[(&str, &str)] = &[
    ("server/store/src/transaction/commands.rs", "the one place that begins and commits"),
    ("server/store/src/session/command_tag.rs", "the names of commands in metrics; it sends none"),
];

/// Only the store's transaction code begins, commits or rolls back.
pub(super) fn transaction_words(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("server/") || TRANSACTIONS.iter().any(|(place, _)| path == *place) {
        return Vec::new();
    }
    // Capitals stand for SQL; small letters only where they make a whole statement.
    let words = concat!(
        r"\b(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|START TRANSACTION)\b",
        r"|(?i)^\s*(begin|commit|rollback|savepoint|start transaction)\b[\w\s]*;",
        r"|(?i)^\s*(begin|commit|rollback)\s*$|(?i)^\s*(begin (immediate|transaction)|savepoint \w)",
    );
    let words = Regex::new(words).expect("a pattern");
    let strings = Source::parse(text).strings;
    let guilty = strings.iter().filter(|(_, literal)| words.is_match(literal));
    guilty
        .map(|(line, literal)| {
            format!("{path}:{line}: {literal:?} belongs to store/transaction/commands.rs")
        })
        .collect()
}

/// A document's links lead to files that are there.
pub(super) fn links(root: &Path, path: &str, text: &str) -> Vec<String> {
    let link = Regex::new(r"\]\(([^()\s]+)\)").expect("a pattern");
    let folder = root.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut faults = Vec::new();
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        for found in link.captures_iter(line).filter(|_| !in_code) {
            let target = found[1].split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') && !folder.join(target).exists() {
                faults.push(format!("{path}:{}: no file {target}", at + 1));
            }
        }
    }
    faults
}

#[test]
fn a_long_file_and_a_silent_one_are_found() {
    assert!(shape("a.rs", &format!("//! A.\n{}", "x\n".repeat(399))).is_empty());
    assert_eq!(shape("a.rs", &format!("//! A.\n{}", "x\n".repeat(400))).len(), 1);
    assert_eq!(shape("a.rs", "use x;\n//! late\n").len(), 1);
    assert_eq!(shape("a.rs", &"//! A.\n".repeat(6)).len(), 1);
    assert!(shape("a/lib.rs", &"//! A.\n".repeat(6)).is_empty());
}

#[test]
fn an_ignored_test_is_found() {
    assert_eq!(ignored_tests("a.rs", "#[test]\n    #[ignore = \"x\"]\nfn f() {}").len(), 1);
    assert!(ignored_tests("a.rs", "let a = \"#[ignore\";").is_empty());
}

#[test]
fn transaction_words_are_found() {
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
fn a_dead_link_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("there.md"), "").expect("a file");
    let text = "[a](there.md#x) [b](https://example.org) [c](#here)\n[d](gone.md)\n";
    assert_eq!(links(folder.path(), "README.md", text), ["README.md:2: no file gone.md"]);
}

//! The cases that don't run on every engine, each with its reason.

use std::collections::BTreeSet;

use bookstore_tests::Engine;
use regex::Regex;

use crate::tidy;

/// A case that [`bookstore_tests::on_every_engine`] excludes on one engine.
struct Exception {
    /// Its module and name, as `book::create_then_get`.
    case: &'static str,
    engine: Engine,
    /// Why it can't run there.
    #[expect(dead_code, reason = "documents the table")]
    reason: &'static str,
}

/// All exceptions. The test fails for an `except` in the suite without a line here, and for a line
/// without its `except`.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        case: "coalescing::limits::batch_is_cancelled_when_all_have_left",
        engine: Engine::Sqlite,
        reason: "no lock of another session makes a read wait there",
    },
    Exception {
        case: "coalescing::limits::plans_of_batches_are_generic",
        engine: Engine::Sqlite,
        reason: "it has one kind of plan",
    },
    Exception {
        case: "explain::explain_cancels_its_statement_at_a_signal",
        engine: Engine::Sqlite,
        reason: "a plan there is not run, and waits for no lock",
    },
    Exception {
        case: "explain::explain_tells_of_a_table_never_analyzed",
        engine: Engine::Sqlite,
        reason: "its plans have no number of rows",
    },
    Exception {
        case: "store::steady_load_opens_no_connections",
        engine: Engine::Sqlite,
        reason: "its pools have no overflow, and its sessions no number",
    },
];

#[test]
fn every_engine_exception_has_a_reason() {
    let mut stamped = BTreeSet::new();
    for (path, text) in tidy::files(".rs") {
        if let Some(file) = path.strip_prefix("tests/suite/") {
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            let cases = excluded_cases(&text).into_iter();
            stamped.extend(cases.map(|(case, engine)| (format!("{module}::{case}"), engine)));
        }
    }
    let listed: BTreeSet<_> = EXCEPTIONS
        .iter()
        .map(|exception| (exception.case.to_owned(), format!("{:?}", exception.engine)))
        .collect();
    assert_eq!(stamped, listed, "excluded cases of the suite, and those of the table");
}

/// The cases with `except` in a text, and the engine's name.
fn excluded_cases(text: &str) -> Vec<(String, String)> {
    let stamp = Regex::new(r"(?s)\bon_every_engine!\s*[({](.*?)[)}];?").expect("a pattern");
    let except = Regex::new(r"(\w+)\s+except\s+(\w)(\w*)").expect("a pattern");
    let mut found = Vec::new();
    // Only at a line's start, since this file has the macro in strings and comments too.
    for stamp in stamp.captures_iter(text).filter(|stamp| {
        stamp.get(0).is_some_and(|all| all.start() == 0 || text[..all.start()].ends_with('\n'))
    }) {
        for case in except.captures_iter(&stamp[1]) {
            found.push((case[1].to_owned(), case[2].to_uppercase() + &case[3]));
        }
    }
    found
}

#[test]
fn case_with_except_is_found_in_text() {
    let text = "on_every_engine!(one, two except postgres,\n three except sqlite);\n// on_every_engine!(x except sqlite);";
    let found = excluded_cases(text);
    let wanted = [("two", "Postgres"), ("three", "Sqlite")];
    assert_eq!(found, wanted.map(|(case, engine)| (case.to_owned(), engine.to_owned())));
}

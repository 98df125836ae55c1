//! The names in the documents exist: files, parts of files, tests, trials and headings.

use std::{collections::BTreeSet, path::Path};

use bookstore_tests::TRIALS;
use regex::{Captures, Regex};

/// The folders that a document may leave out of a path.
const FOLDERS: &[&str] = &[
    "",
    "server/src",
    "server/src/resource",
    "server/src/rpc",
    "server/store/src",
    "server/query/src",
    "server/auth/src",
    "server/client/src",
    "migration/src",
    "tests/suite",
    "proto",
];

/// Parts of paths that a document may name although they do not exist: files that a reader makes,
/// and files of other programs.
const ELSEWHERE: &[&str] = &[
    "publisher",
    "YYYY",
    "NAME",
    "FILE",
    "pg_wal",
    "google/",
    "golang/",
    "target/",
    // A method of the contract.
    "Service/",
];

const SPAN: &str = r"`([^`\n]+)`";
const PATH: &str =
    r"^(?:\.?[\w-]+/)+(?:[\w.-]+)?$|^[\w-]+\.(?:rs|proto|toml|yml|yaml|sql|md|json|sh)$";
/// A name that a file defines, of or in it, and the two as neighbours in a table.
const PART: &str =
    r"`(\w+::)?(\w+)`,? (?:of|in) `([\w./-]+\.rs)`|`([\w./-]+\.rs)` \| `(\w+::)?(\w+)`";
const TRIAL: &str = r"-- trial ([a-z]+)|\btrials? ((?:`[a-z]+`(?:, | and )?)+)";
const FILTER: &str = r"cargo test [^\n`]*?((?:\w+::)+)";
const LINK: &str = r"\]\(([^()\s#]*)#([^()\s]+)\)";

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// The violations in one document. `sources` are the paths and texts of all files of Rust, `paths` the
/// paths of all files.
pub(super) fn documents(
    root: &Path,
    path: &str,
    text: &str,
    sources: &[(String, String)],
    paths: &[String],
) -> Vec<String> {
    // The changelog names what existed when a change was made.
    if path == "CHANGELOG.md" {
        return Vec::new();
    }
    let [span, file_path, part, trial, filter, link] =
        [SPAN, PATH, PART, TRIAL, FILTER, LINK].map(pattern);
    let mut violations = Vec::new();
    let folder = Path::new(path).parent().and_then(Path::to_str).unwrap_or_default();
    for named in
        prose(text).flat_map(|line| span.captures_iter(line)).map(|found| found[1].to_owned())
    {
        let is_ours =
            file_path.is_match(&named) && !ELSEWHERE.iter().any(|part| named.contains(part));
        if is_ours && !is_there(root, folder, &named, paths) {
            violations.push(format!("{path}: no file {named}"));
        }
    }
    for found in part.captures_iter(text) {
        let (file, part) = (either(&found, 3, 4), either(&found, 2, 6));
        let is_there =
            sources.iter().any(|(source, code)| source.ends_with(file) && defines(code, part));
        if !is_there && !ELSEWHERE.iter().any(|part| file.contains(part)) {
            violations.push(format!("{path}: no {part} in {file}"));
        }
    }
    let quoted = |found: &Captures<'_>| either(found, 1, 2).replace(['`', ','], " ");
    for names in trial.captures_iter(text).map(|found| quoted(&found)) {
        let names = names.split_whitespace().filter(|name| *name != "and");
        let unknown = names.filter(|name| TRIALS.iter().all(|trial| trial.name != *name));
        violations.extend(unknown.map(|name| format!("{path}: no trial {name}")));
    }
    for filter in filter.captures_iter(text) {
        let module = filter[1].trim_end_matches("::").replace("::", "/");
        let file = format!("tests/suite/{module}");
        let is_file =
            [".rs", "/mod.rs", ""].iter().any(|end| root.join(format!("{file}{end}")).exists());
        if !is_file {
            violations.push(format!("{path}: no tests {module}"));
        }
    }
    for link in link.captures_iter(text).filter(|link| !link[1].contains(':')) {
        let target =
            if link[1].is_empty() { path.to_owned() } else { format!("{folder}/{}", &link[1]) };
        let target = std::fs::read_to_string(root.join(target.trim_start_matches('/')));
        if !target.is_ok_and(|text| anchors(&text).contains(&link[2])) {
            violations.push(format!("{path}: no heading {}#{}", &link[1], &link[2]));
        }
    }
    violations
}

/// The group that took part in a match, of two.
fn either<'a>(found: &'a Captures<'_>, first: usize, second: usize) -> &'a str {
    found.get(first).or(found.get(second)).map_or("", |part| part.as_str())
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// Whether a path leads to a file or folder from one of the places that it may begin at. A name
/// without a folder may be in any folder.
fn is_there(root: &Path, folder: &str, named: &str, paths: &[String]) -> bool {
    let beside = FOLDERS.iter().chain([&folder]).any(|at| root.join(at).join(named).exists());
    beside || !named.contains('/') && paths.iter().any(|path| path.ends_with(&format!("/{named}")))
}

/// Whether a file defines an item, a test or a public field, such as a setting. A use of the name or
/// a word in a comment is no definition.
fn defines(code: &str, part: &str) -> bool {
    let item = "(?:(?:const |async |unsafe )*fn|struct|enum|union|trait|type|const|static|mod|macro_rules!) +";
    let text =
        format!(r"(?m)^ *(?:(?:pub(?:\([\w ]+\))? )?{item}{part}\b|pub(?:\([\w ]+\))? {part}:)");
    pattern(&text).is_match(code)
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn unknown_documented_name_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    std::fs::create_dir(folder.path().join("server")).expect("a folder");
    let code =
        "/// It writes, maybe.\nfn read() { write() }\nstruct A {\n    pub(crate) limit: u32,\n}\n";
    write("server/a.rs", code).expect("a file");
    write("there.md", "# A heading, `or` two\n").expect("a file");
    let sources = [("server/a.rs".to_owned(), code.to_owned())];
    let paths = ["server/a.rs".to_owned()];
    let find = |text: &str| documents(folder.path(), "README.md", text, &sources, &paths);
    let good = "`server/a.rs` `a.rs` `server/` `SELECT 1/2` trial `drops` `read` of `server/a.rs`\n\
                | `server/a.rs` | `read` |\n`limit` in `a.rs`\n[x](there.md#a-heading-or-two)\n```\n`server/gone.rs`\n```\n";
    assert_eq!(find(good), Vec::<String>::new());
    for (bad, fault) in [
        ("see `server/gone.rs`", "README.md: no file server/gone.rs"),
        ("see `gone.rs`", "README.md: no file gone.rs"),
        ("see `server/gone/`", "README.md: no file server/gone/"),
        ("`write` of `server/a.rs`", "README.md: no write in server/a.rs"),
        ("| `server/a.rs` | `A::write` |", "README.md: no write in server/a.rs"),
        ("trials `drops` and `gone`", "README.md: no trial gone"),
        ("`cargo run -- trial gone 5`", "README.md: no trial gone"),
        ("`cargo test --workspace gone::`", "README.md: no tests gone"),
        ("[x](there.md#gone)", "README.md: no heading there.md#gone"),
    ] {
        assert_eq!(find(bad), [fault]);
    }
}

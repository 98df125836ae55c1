//! Adds one more resource by CONTRIBUTING.md's checklist, in a copy of the workspace. It is built,
//! served and called there, and changes only the files that the checklist names.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use regex::Regex;

use crate::program;

/// The folder of the new files' texts, each at its path.
const TEXTS: &str = "tests/fixtures/publisher";

/// The files that are generated from the contract and from the tables.
const MADE: [&str; 4] = [
    "tests/golden/bookstore.v1.txt",
    "deploy/service-config.json",
    "tests/golden/grants.txt",
    "deploy/postgres/roles.sql",
];

/// Folders that aren't copied.
const SKIPPED: &[&str] = &["target", ".git", "node_modules"];

/// The index lines: the file, a pattern of the lines among which the new one is sorted, and the
/// line.
const LINES: &[(&str, &str, &str)] = &[
    (
        "proto/bookstore/v1/transaction.proto",
        r#"^import "bookstore/v1/"#,
        r#"import "bookstore/v1/publisher.proto";"#,
    ),
    ("entity/src/lib.rs", r"^pub mod \w+;$", "pub mod publisher;"),
    (
        "entity/src/schema/mod.rs",
        r"^ +crate::\w+::table\(\),$",
        "        crate::publisher::table(),",
    ),
    (
        "tests/suite/migration.rs",
        r"^ +is_table\(&database, ",
        "        is_table(&database, bookstore_entity::publisher::Entity).await,",
    ),
    ("migration/src/revisions/mod.rs", r"^mod m\d+", "mod m20991231_000001_create_publishers;"),
    (
        "migration/src/revisions/mod.rs",
        r"^ +m\d+\w+::revision\(\),$",
        "        m20991231_000001_create_publishers::revision(),",
    ),
    ("server/src/resource/mod.rs", r"^pub mod \w+;$", "pub mod publisher;"),
    ("server/src/resource/mod.rs", r"^    \w+::ENTRY,$", "    publisher::ENTRY,"),
    (
        "server/client/src/client.rs",
        r"^    \w+: \w+_service_client::",
        "    publishers: publisher_service_client::PublisherServiceClient;",
    ),
    ("tests/suite/main.rs", r"^mod \w+;$", "mod publisher;"),
    ("tests/suite/bad_input.rs", r"^    &crate::\w+::KIND,$", "    &crate::publisher::KIND,"),
];

/// The suite's cases that cover every resource.
const CASES: &[&str] = &[
    "publisher::",
    "bad_input::",
    "clients::config::",
    "contract::",
    "migration::",
    "readme::",
    "reasons::",
    "registry::",
    "roles::",
    "standard::",
    "tidy::",
];

/// Follows the checklist, `rounds` times.
pub(super) async fn checklist(rounds: u32) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let built = program().parent().expect("the folder of what cargo builds").to_owned();
    // Always the same folder, so that a second round builds only what has changed.
    let copy = built.join("checklist/workspace");
    let target = built.join("checklist/target");
    for _ in 0..rounds {
        synchronize(root, &copy);
        share_dependencies(&built, &target.join("debug"));
        follow(root, &copy);
        cargo(&copy, &target, &["fmt", "--all", "--check"], &[]);
        let suite = ["test", "--workspace", "--offline", "--test", "suite", "--"];
        let golden = [&suite[..], &["contract::", "roles::"]].concat();
        cargo(&copy, &target, &golden, &[("BOOKSTORE_WRITE_GOLDEN", "1")]);
        let output_text = cargo(&copy, &target, &[&suite[..], CASES].concat(), &[]);
        for engine in ["sqlite", "postgres"] {
            for case in ["duplicate_name_is_refused", "closing_a_publisher_with_books_is_refused"] {
                let line = format!("test publisher::{case}::{engine} ... ok");
                assert!(output_text.contains(&line), "no {line:?} in\n{output_text}");
            }
        }
        assert_eq!(changed(root, &copy), named(root), "changed files, and those that are named");
    }
}

/// Makes the copy equal to the workspace. Equal files aren't written again, so that cargo doesn't
/// build them again.
pub(super) fn synchronize(root: &Path, copy: &Path) {
    let (wanted, there) = (files(root), files(copy));
    for path in there.difference(&wanted) {
        fs::remove_file(copy.join(path)).expect("a file to remove");
    }
    for path in &wanted {
        let text = fs::read(root.join(path)).expect("a file of the workspace");
        if fs::read(copy.join(path)).ok().as_ref() != Some(&text) {
            write(&copy.join(path), &text);
        }
    }
}

/// Links the built dependencies, so that they aren't built again. The workspace's own artifacts
/// stay out: cargo would give the copy's the same names, and each would overwrite the other's.
pub(super) fn share_dependencies(built: &Path, copy: &Path) {
    let ours = Regex::new(r"(^|/)(lib)?(bookstore|suite)[_-]").expect("a pattern");
    for folder in ["deps", "build", ".fingerprint"] {
        let (from, to) = (built.join(folder), copy.join(folder));
        for path in files(&from).into_iter().filter(|path| !ours.is_match(path)) {
            let (from, to) = (from.join(&path), to.join(&path));
            let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
            if time(&from) != time(&to) {
                fs::create_dir_all(to.parent().expect("a folder")).expect("the file's folder");
                drop(fs::remove_file(&to));
                fs::hard_link(&from, &to).expect("a hard link");
            }
        }
    }
}

/// Writes the new files and the index lines.
fn follow(root: &Path, copy: &Path) {
    for path in files(&root.join(TEXTS)) {
        let text = fs::read(root.join(TEXTS).join(&path)).expect("a new place's text");
        write(&copy.join(path), &text);
    }
    for (file, like, line) in LINES {
        let path = copy.join(file);
        let text = fs::read_to_string(&path).expect("a file with an index");
        write(&path, insert(&text, like, line).as_bytes());
    }
}

/// Inserts a line before the first greater one of its kind, or else after the last.
fn insert(text: &str, like: &str, line: &str) -> String {
    let like = Regex::new(like).expect("a pattern");
    let mut lines: Vec<&str> = text.lines().collect();
    let kind: Vec<usize> = (0..lines.len()).filter(|at| like.is_match(lines[*at])).collect();
    let last = kind.last().unwrap_or_else(|| panic!("no line like {like}"));
    let greater = kind.iter().find(|at| lines[**at] > line);
    lines.insert(greater.copied().unwrap_or(last + 1), line);
    lines.join("\n") + "\n"
}

/// The files that the copy has in addition, or with another text.
fn changed(root: &Path, copy: &Path) -> BTreeSet<String> {
    let differs = |path: &String| fs::read(root.join(path)).ok() != fs::read(copy.join(path)).ok();
    files(copy).union(&files(root)).filter(|path| differs(path)).cloned().collect()
}

/// The files that the checklist names, and those generated from the contract.
fn named(root: &Path) -> BTreeSet<String> {
    let guide = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("the guide");
    let (_, section) = guide.split_once("\n## Adding a resource\n").expect("the checklist");
    let section = section.split("\n## ").next().unwrap_or_default();
    let quoted = Regex::new("`([^`]*)`").expect("a pattern");
    let names = |cell: &str| -> Vec<String> {
        quoted.captures_iter(cell).map(|found| found[1].to_owned()).collect()
    };
    let mut named = BTreeSet::from(MADE.map(str::to_owned));
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.trim_matches('|').split(" | ");
        let (new, index) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        match names(new).as_slice() {
            [folder, files @ ..] if folder.ends_with('/') => {
                let files = files.iter().filter(|file| file.ends_with(".rs"));
                named.extend(files.map(|file| format!("{folder}{file}")));
            }
            [file, ..] => {
                named.insert(file.replace("YYYYMMDD_NNNNNN", "20991231_000001"));
            }
            [] => {}
        }
        named.extend(names(index).into_iter().filter(|name| name.contains('/')));
    }
    named
}

/// Runs cargo in the copy; returns its output.
pub(super) fn cargo(
    copy: &Path,
    target: &Path,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> String {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(copy).stdin(Stdio::null()).stderr(Stdio::inherit());
    // Cargo's variables for this package would be wrong for others.
    for (name, _) in env::vars_os() {
        let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if name.to_str().is_some_and(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command.env("CARGO_TARGET_DIR", target);
    command.envs(settings.iter().copied());
    let output = command.output().expect("cargo");
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "cargo {}: {}\n{output_text}",
        arguments.join(" "),
        output.status
    );
    output_text
}

/// Every file below a folder, by its path from there.
fn files(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                folders.push(path);
            } else if path.is_file() {
                let inside = path.strip_prefix(root).expect("a path below the root");
                found.insert(inside.to_string_lossy().into_owned());
            }
        }
    }
    found
}

fn write(path: &Path, text: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("the file's folder");
    fs::write(path, text).expect("a file of the copy");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_line_is_inserted_in_its_order() {
        let text = "mod a;\nmod c;\n\nmod x;\nfn f() {}\n";
        let found = |line| insert(text, r"^mod \w;$", line);
        assert_eq!(found("mod b;"), "mod a;\nmod b;\nmod c;\n\nmod x;\nfn f() {}\n");
        assert_eq!(found("mod y;"), "mod a;\nmod c;\n\nmod x;\nmod y;\nfn f() {}\n");
    }

    #[test]
    fn checklist_names_are_read_from_contributing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let named = named(root);
        for file in ["proto/bookstore/v1/publisher.proto", "server/src/resource/publisher/mod.rs"] {
            assert!(named.contains(file), "{named:#?}");
        }
        assert_eq!(named.len(), 21, "{named:#?}");
    }
}

//! House rules that neither Cargo nor rustc nor clippy can check: rules inside one crate, in texts,
//! or across files of several kinds. Each is a function of a file's path and text, with a test that
//! fails it on a bad example. Cargo holds the borders between crates; see `borders.rs`.

mod arrows;
mod circles;
mod documents;
mod names;
mod resources;
mod source;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders with generated files, and with texts that belong elsewhere.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "fixtures"];

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// The paths, from the root, of all files with this ending.
fn paths(ending: &str) -> Vec<String> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry of the folder").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !SKIPPED.contains(&name) {
                folders.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                let inside = path.strip_prefix(&root).expect("a path below the root");
                found.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no *{ending} in {}", root.display());
    found
}

/// The same with their texts.
pub(crate) fn files(ending: &str) -> Vec<(String, String)> {
    let text = |path: &String| fs::read_to_string(root().join(path)).expect("a text file");
    paths(ending).into_iter().map(|path| (path.clone(), text(&path))).collect()
}

/// Fails with all violations of a rule in the files.
fn assert_rule(ending: &str, rule: impl Fn(&str, &str) -> Vec<String>) {
    let violations: Vec<String> =
        files(ending).iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn every_file_is_short_and_starts_with_its_doc() {
    assert_rule(".rs", text::shape);
}

#[test]
fn no_test_is_ignored() {
    assert_rule(".rs", text::ignored_tests);
}

#[test]
fn only_the_store_sends_transaction_control() {
    assert_rule(".rs", text::transaction_words);
}

#[test]
fn modules_of_the_server_import_downward_only() {
    assert_rule(".rs", arrows::arrows);
}

#[test]
fn no_files_import_each_other() {
    let circles = circles::circles(&files(".rs"));
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    assert_rule(".md", |path, text| text::links(&root(), path, text));
}

#[test]
fn every_name_in_the_documents_exists() {
    let (sources, paths) = (files(".rs"), paths(""));
    assert_rule(".md", |path, text| documents::documents(&root(), path, text, &sources, &paths));
}

#[test]
fn every_service_has_its_files() {
    assert_rule(".proto", |path, text| resources::services(&root(), path, text));
}

#[test]
fn every_migration_is_named_and_listed() {
    let index =
        fs::read_to_string(root().join("migration/src/revisions/mod.rs")).expect("the list");
    assert_rule(".rs", |path, _| resources::migrations(path, &index));
}

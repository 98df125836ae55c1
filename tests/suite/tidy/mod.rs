//! House rules that neither Cargo nor rustc nor clippy can hold: what stands inside one crate,
//! in texts, or in files of several kinds. Each is a function over a file's path and text, with
//! a test that shows it failing on a bad example. Cargo holds the borders between crates; see
//! `borders.rs`.

mod arrows;
mod circles;
mod names;
mod resources;
mod source;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold nothing written by us, and texts for other places than their own.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "fixtures"];

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// The paths, from the root, and texts of all files whose names end so.
pub(crate) fn files(ending: &str) -> Vec<(String, String)> {
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
                let text = fs::read_to_string(&path).expect("a text file");
                found.push((inside.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no *{ending} in {}", root.display());
    found
}

/// Fails with every fault that a rule finds in the files.
fn hold(ending: &str, rule: impl Fn(&str, &str) -> Vec<String>) {
    let faults: Vec<String> =
        files(ending).iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_hold() {
    hold(".rs", text::shape);
}

#[test]
fn no_test_is_ignored() {
    hold(".rs", text::ignored_tests);
}

#[test]
fn only_the_store_begins_and_commits() {
    hold(".rs", text::transaction_words);
}

#[test]
fn arrows_point_downward() {
    hold(".rs", arrows::arrows);
}

#[test]
fn no_files_form_a_circle() {
    let circles = circles::circles(&files(".rs"));
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    hold(".md", |path, text| text::links(&root(), path, text));
}

#[test]
fn every_service_has_its_places() {
    hold(".proto", |path, text| resources::services(&root(), path, text));
}

#[test]
fn every_migration_is_listed() {
    let index =
        fs::read_to_string(root().join("migration/src/revisions/mod.rs")).expect("the list");
    hold(".rs", |path, _| resources::migrations(path, &index));
}

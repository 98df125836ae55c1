//! The documents are true: the README's first screen and the tables of docs/.

use std::fs;

use bookstore_server::config::SETTINGS;
use bookstore_tests::{Engine, TestServer};
use serde_json::json;

use crate::{printed::call, tidy};

/// A page of the documents, by its path from the workspace's folder.
fn page(path: &str) -> String {
    fs::read_to_string(tidy::root().join(path)).expect(path)
}

/// The rows of the table under a heading, cells trimmed.
pub(crate) fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = text.split_once(&format!("# {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap_or_default();
    let section = section.split("\n### ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = |row: &str| row.split(" |").map(|cell| cell.trim().to_owned()).collect();
    rows.skip(1).map(cells).collect()
}

pub(crate) fn code(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn readme_first_screen_has_the_two_commands() {
    let text = page("README.md");
    let screen: Vec<&str> = text.lines().take(30).collect();
    for command in ["cargo run -- serve --sample-data", "./test"] {
        assert!(screen.iter().any(|line| line.split("  ").next() == Some(command)), "{command}");
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let value = |default: &str| if default.is_empty() { String::new() } else { code(default) };
    let wanted: Vec<Vec<String>> = SETTINGS
        .iter()
        .map(|setting| vec![code(setting.key), value(setting.default), setting.doc.to_owned()])
        .collect();
    let rows = table(&page("docs/settings.md"), "Settings");
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(rows, wanted);
}

#[test]
fn every_reason_is_documented_with_its_code() {
    let path = "proto/bookstore/v1/errors.proto";
    let contract = fs::read_to_string(tidy::root().join(path)).expect("the contract's errors");
    let lines: Vec<&str> = contract.lines().map(str::trim).collect();
    let reason = |pair: &[&str]| {
        let name = pair[1].strip_prefix("ERROR_REASON_")?.split_once(" = ")?.0;
        let status = pair[0].strip_prefix("// ")?.split_once('.')?.0;
        (name != "UNSPECIFIED").then(|| vec![code(name), status.to_owned()])
    };
    let wanted: Vec<Vec<String>> = lines.windows(2).filter_map(reason).collect();
    assert!(!wanted.is_empty());
    let rows = table(&page("docs/api.md"), "Errors");
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(rows, wanted);
}

#[tokio::test]
async fn every_documented_filter_matches_its_documented_count() {
    let server = TestServer::builder(Engine::Sqlite).flag("--sample-data").start().await;
    let filters = table(&page("docs/api.md"), "Filters");
    assert!(!filters.is_empty());
    for row in filters {
        let filter = row[0].trim_matches('`');
        let body = json!({"filter": filter, "total_size_mode": "TOTAL_SIZE_MODE_EXACT"});
        let answer = call(&server, "bookstore.v1.BookService/ListBooks", body).await;
        let answer = answer.expect(filter);
        assert_eq!(answer["totalSize"], row[1], "{filter}");
    }
}

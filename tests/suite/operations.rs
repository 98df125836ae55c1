//! The operations page is complete: every metric, admin path, name and answer of health, exit
//! code and reason.

use std::{collections::BTreeSet, fs};

use bookstore_server::{meters, shutdown::Signal};
use bookstore_tests::{Engine, TestServer, run};
use regex::Regex;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    admin,
    readme::{code, table},
    reasons::REASONS,
    tidy,
};

fn page() -> String {
    fs::read_to_string(tidy::root().join("docs/operations.md")).expect("the page")
}

/// The first column of the table under a heading.
fn names(heading: &str) -> Vec<String> {
    let rows = table(&page(), heading);
    assert!(!rows.is_empty(), "no table under {heading}");
    assert!(rows.iter().all(|row| row.iter().take(3).all(|cell| !cell.is_empty())), "{rows:?}");
    rows.into_iter().map(|row| row[0].clone()).collect()
}

#[test]
fn every_metric_is_on_the_operations_page() {
    let documented = names("Metrics");
    let wanted: Vec<String> = meters::all().map(|meaning| code(meaning.name)).collect();
    let missing: Vec<_> = wanted.iter().filter(|name| !documented.contains(name)).collect();
    let unknown: Vec<_> = documented.iter().filter(|name| !wanted.contains(name)).collect();
    assert!(missing.is_empty(), "docs/operations.md lacks {missing:?}");
    assert!(unknown.is_empty(), "docs/operations.md has {unknown:?}, which don't exist");
    assert_eq!(documented, wanted, "the order is that of meters::all");
}

/// The admin address answers the paths that it lists, and the page documents them.
#[tokio::test]
async fn every_admin_path_is_on_the_operations_page() {
    let server = TestServer::builder(Engine::Sqlite).env("ADMIN_ADDR", "127.0.0.1:0").start().await;
    let address = server.admin_address().await;
    let documented = names("Admin address").join(" ");
    let (_, listed) = admin::get(address, "/").await;
    let paths: Vec<_> = listed.split_whitespace().filter(|word| word.starts_with('/')).collect();
    assert!(paths.contains(&"/topology"), "{listed}");
    for path in paths {
        assert!(documented.contains(&code(path)), "docs/operations.md lacks {path}");
        let (status, body) = admin::get(address, path).await;
        let needs = ["no metrics are kept", "where policy_mode is report"];
        let is_off = needs.iter().any(|need| body.contains(need));
        assert!(status == 200 || is_off, "{path}: {body}");
    }
}

#[tokio::test]
async fn every_health_name_on_the_page_is_known() {
    let server = TestServer::builder(Engine::Sqlite).start().await;
    let mut health = HealthClient::new(server.channel());
    for name in names("Health") {
        let service = name.trim_matches('`').to_owned();
        health.check(HealthCheckRequest { service }).await.expect(&name);
    }
}

/// The source of the admin address contains all answers of `/status`.
#[test]
fn every_status_answer_is_on_the_operations_page() {
    let source = fs::read_to_string(tidy::root().join("server/src/admin.rs")).expect("the source");
    let states = Regex::new(r#""([A-Z_]{6,})""#).expect("a pattern");
    let wanted: BTreeSet<String> =
        states.captures_iter(&source).map(|found| code(&found[1])).collect();
    assert!(wanted.contains("`HEALTHY`"), "{wanted:?}");
    let documented: BTreeSet<String> = names("Answers of the admin address").into_iter().collect();
    assert_eq!(documented, wanted);
}

#[tokio::test]
async fn every_migrate_exit_code_is_documented() {
    let help = run(&["migrate", "--help"], &[]).await.output;
    let (_, listed) = help.split_once("Exit codes: ").expect("the exit codes");
    let number = |part: &str| part.split_whitespace().next().unwrap_or_default().to_owned();
    let wanted: Vec<String> = listed.split(';').map(number).collect();
    assert!(wanted.len() > 5, "{help}");
    assert_eq!(names("Migrations"), wanted);
}

/// 0 to 2 are those of any program; the others are the program's own.
#[test]
fn every_serve_exit_code_is_documented() {
    let signals = [Signal::Interrupt, Signal::Terminate].map(|it| it.exit_code().to_string());
    assert_eq!(names("Exit codes"), ["0", "1", "2", "64", &signals.join(", ")]);
}

/// A reason has its own line, or is in the list of reasons for callers.
#[test]
fn every_reason_is_on_the_operations_page() {
    let page = page();
    let (_, section) = page.split_once("### Error reasons\n").expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let words = Regex::new("`([A-Z_]{4,})`").expect("a pattern");
    let documented: BTreeSet<String> =
        words.captures_iter(section).map(|found| found[1].to_owned()).collect();
    assert_eq!(documented, *REASONS);
}

//! The operations page is complete: every metric, every admin path, every health name.

use std::fs;

use bookstore_server::meters;
use bookstore_tests::{Engine, TestServer};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    admin,
    readme::{code, table},
    tidy,
};

/// The first column of the table under a heading.
fn names(heading: &str) -> Vec<String> {
    let text = fs::read_to_string(tidy::root().join("docs/operations.md")).expect("the page");
    let rows = table(&text, heading);
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
        assert!(status == 200 || body.contains("no metrics are kept"), "{path}: {body}");
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

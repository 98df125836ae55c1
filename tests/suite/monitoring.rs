//! The alert rules, their tests, the dashboard and the operations page agree with each other and
//! with the metrics of the service.

use std::{collections::BTreeSet, fs};

use bookstore_server::meters;
use bookstore_tests::{Engine, TestServer};
use regex::Regex;
use serde_json::Value;

use crate::{admin, readme::table, tidy};

const RULES: &str = "deploy/prometheus/rules.yml";
const RULE_TESTS: &str = "deploy/prometheus/rules_test.yml";
const DASHBOARD: &str = "deploy/grafana/bookstore.json";
const PAGE: &str = "docs/operations.md";

fn read(path: &str) -> String {
    fs::read_to_string(tidy::root().join(path)).expect(path)
}

/// The first group of the pattern, wherever it matches.
fn found(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

fn set(names: Vec<String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

/// The rules without comments and annotations, which are prose.
fn rule_expressions() -> String {
    let rules = read(RULES);
    let lines = rules.lines().filter(|line| {
        let line = line.trim();
        !["#", "summary:", "runbook:"].iter().any(|start| line.starts_with(start))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The expressions of all panels.
fn panel_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut expressions = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty() && panel["description"].is_string(), "{}", panel["title"]);
        for target in targets {
            expressions.push(target["expr"].as_str().expect("an expression").to_owned());
        }
    }
    expressions
}

/// Prometheus' names of the metrics: `_` for `.`, the unit, and what a counter or a histogram
/// gets behind it (OpenTelemetry, Prometheus and OpenMetrics Compatibility).
#[tokio::test]
async fn alerts_and_panels_name_existing_metrics() {
    let server = TestServer::builder(Engine::Sqlite).env("ADMIN_ADDR", "127.0.0.1:0").start().await;
    let (_, scraped) = admin::get(server.admin_address().await, "/metrics").await;
    let mut known = BTreeSet::new();
    // Labels of metrics that a service without calls doesn't have yet.
    known.extend(["rpc_response_status_code", "rpc_method"].map(str::to_owned));
    for metric in meters::all() {
        let unit = match metric.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let name = format!("{}{unit}", metric.name.replace('.', "_"));
        known.extend(["", "_total", "_bucket", "_count"].map(|end| format!("{name}{end}")));
    }
    let page = table(&read(PAGE), "Dashboard").into_iter().map(|row| row[1].clone());
    let (page, panels) = (page.collect::<Vec<_>>(), panel_expressions());
    assert!(page.len() > 5 && panels.len() > 20, "{page:?} {panels:?}");
    let mut texts = vec![rule_expressions()];
    texts.extend(page.into_iter().chain(panels));
    for text in texts {
        let named = found(r"\b((?:bookstore|db|process|rpc)_[a-z_]+)", &text);
        assert!(!named.is_empty(), "{text}");
        for name in named {
            // The service's own answer has the labels, and the metrics of the process.
            let is_known = known.contains(&name)
                || scraped.contains(&format!("{name}="))
                || scraped.contains(&format!("\n{name} "));
            assert!(is_known, "no metric or label {name}: {text}");
        }
    }
}

#[test]
fn every_alert_is_tested_and_has_an_entry() {
    let rules = read(RULES);
    let alerts = found(r"(?m)^ +- alert: (\w+)$", &rules);
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(set(alerts.clone()).len(), alerts.len(), "an alert has two rules: {alerts:?}");

    let page = read(PAGE);
    let (_, section) = page.split_once("\n### Alerts\n").expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let severities = found(r"(?m)^ +labels: \{severity: (\w+)\}$", &rules);
    let entries: Vec<&str> = section.split("\n#### ").skip(1).collect();
    let headings: Vec<_> = entries.iter().map(|entry| entry.lines().next().unwrap()).collect();
    assert_eq!(headings, alerts, "the entries stand in the order of the rules");
    assert_eq!(severities.len(), alerts.len(), "each alert has a severity");
    for ((entry, alert), severity) in entries.iter().zip(&alerts).zip(&severities) {
        for part in [&format!("Severity: {severity}\n"), "Meaning: ", "Look at: ", "Do: "] {
            assert!(entry.contains(&format!("\n- {part}")), "{alert}: no {part:?}");
        }
    }
    let anchors = found(r"(?m)^ +runbook: docs/operations\.md#(\w+)$", &rules);
    let wanted: Vec<_> = alerts.iter().map(|alert| alert.to_lowercase()).collect();
    assert_eq!(anchors, wanted, "each alert names its entry");

    // A test that expects an alert has its labels.
    let tests = read(RULE_TESTS);
    let firing = found(r"alertname: (\w+)\n +exp_alerts:\n +- exp_labels", &tests);
    assert_eq!(set(firing), set(alerts.clone()), "each alert fires in a test");
}

/// Grafana identifies panels by their numbers, and draws them where the file says.
#[test]
fn panels_have_distinct_numbers_and_places() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let numbers: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(numbers.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = &panel["gridPos"];
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| place[key].as_u64().expect("a number"));
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} covers another panel", panel["title"]);
        }
    }
}

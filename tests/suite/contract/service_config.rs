//! `deploy/service-config.json` is rendered from the contract: which calls a client retries follows
//! from each method's idempotency.

use std::{env, fs};

use bookstore_client::{Repeat, ServiceConfig, repeat};
use bookstore_proto::DESCRIPTOR_POOL;
use tonic::Code;

use super::REWRITE;
use crate::tidy;

const FILE: &str = "deploy/service-config.json";

/// The settings of all calls. The health name is for gRFC A17's watch: a service that isn't ready
/// gets no calls.
const HEAD: &str = r#"{
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "ready"},
  "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1},
  "methodConfig": [
"#;

/// Calls that are retried without a key: reads, and writes that are idempotent by themselves.
const SAFE: &str = r#",
      "timeout": "30s",
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"]
      }
    }"#;

/// Writes. A service config can't require a key; the service does so by refusing a retried write
/// without one. UNKNOWN is COMMIT_OUTCOME_UNKNOWN, which a retry with the key resolves.
const WITH_KEY: &str = r#",
      "timeout": "30s",
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "UNKNOWN"]
      }
    }"#;

/// Streams, which their callers resume.
const STREAM: &str = r#",
      "waitForReady": true
    }"#;

/// Every method of the contract: its service, its name, and how it may be retried.
fn methods() -> Vec<(String, String, Repeat)> {
    let services = DESCRIPTOR_POOL.services();
    let mut services: Vec<_> =
        services.filter(|service| service.package_name() == "bookstore.v1").collect();
    services.sort_by(|one, other| one.full_name().cmp(other.full_name()));
    let mut found = Vec::new();
    for service in services {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let repeat = repeat(&path).expect("a method of the contract");
            found.push((service.full_name().to_owned(), method.name().to_owned(), repeat));
        }
    }
    found
}

fn render() -> String {
    let methods = methods();
    let entry = |wanted: &[Repeat], rest: &str| {
        let names = methods.iter().filter(|(_, _, repeat)| wanted.contains(repeat));
        let names: Vec<_> = names
            .map(|(service, method, _)| {
                format!(r#"        {{"service": "{service}", "method": "{method}"}}"#)
            })
            .collect();
        format!("    {{\n      \"name\": [\n{}\n      ]{rest}", names.join(",\n"))
    };
    let entries = [
        entry(&[Repeat::Read, Repeat::Idempotent], SAFE),
        entry(&[Repeat::WithKey], WITH_KEY),
        entry(&[Repeat::Never], STREAM),
    ];
    format!("{HEAD}{}\n  ]\n}}\n", entries.join(",\n"))
}

#[test]
fn service_config_file_equals_the_rendered_contract() {
    let path = tidy::root().join(FILE);
    let wanted = render();
    if env::var_os("BOOKSTORE_WRITE_GOLDEN").is_some() {
        fs::write(&path, &wanted).expect("the service config can be written");
    }
    let text = fs::read_to_string(&path).expect("the service config");
    let different = text.lines().zip(wanted.lines()).find(|(there, wanted)| there != wanted);
    assert_eq!(different, None, "{FILE} differs from the rendered contract; run\n  {REWRITE}");
    assert_eq!(text, wanted);

    // The same in the client's reading.
    let config = ServiceConfig::parse(&text).expect("a service config");
    let codes = |path: &str| {
        let policy = config.method(path).retry_policy;
        policy.map(|policy| policy.retryable_status_codes).unwrap_or_default()
    };
    let get = codes("/bookstore.v1.BookService/GetBook");
    assert_eq!(get, [Code::Unavailable, Code::Aborted, Code::ResourceExhausted]);
    assert!(codes("/bookstore.v1.OrderService/PlaceOrder").contains(&Code::Unknown));
    assert!(codes("/bookstore.v1.TransactionService/GetOutcome").contains(&Code::Unavailable));
    for stream in ["TransactionService/Transact", "BookTransferService/ExportBooks"] {
        let path = format!("/bookstore.v1.{stream}");
        assert!(codes(&path).is_empty(), "{stream}");
        assert_eq!(config.method(&path).timeout, None, "{stream}");
    }
    assert_eq!(config.health_check_service.as_deref(), Some("ready"));
    assert!(config.retry_throttling.is_some());
}

//! `bookstore topology`: the current role and state of each node of the database.

use std::time::Duration;

use bookstore_store::Deadline;

use super::{failure::Failure, print};
use crate::{app, config::Config};

/// The timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The time between the two probes that measure a replica's lag.
const PROBE_INTERVAL: Duration = Duration::from_millis(300);

/// Prints a line a node.
///
/// # Errors
/// If no node takes writes.
pub async fn run(config: &Config) -> Result<(), Failure> {
    let store = app::open_store(&config.database)?;
    store.probe_nodes(Deadline::after(PROBE_TIMEOUT)).await;
    // A second probe is needed to compare a replica's position with the primary's of the first.
    tokio::time::sleep(PROBE_INTERVAL).await;
    let nodes = store.probe_nodes(Deadline::after(PROBE_TIMEOUT)).await;
    print::line(&format!(
        "{:<28} {:<14} {:>8} {:>18} {:>10} {:>12}",
        "NODE", "ROLE", "TIMELINE", "POSITION", "LAG", "LAG BYTES"
    ));
    for node in &nodes {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        print::line(&format!(
            "{:<28} {:<14} {:>8} {:>18} {:>10} {:>12}",
            node.name,
            node.role.name(),
            or_none(node.timeline.map(|it| it.to_string())),
            or_none(node.lsn()),
            or_none(node.lag.map(|lag| format!("{} ms", lag.as_millis()))),
            or_none(node.lag_bytes.map(|it| it.to_string())),
        ));
    }
    store.close().await;
    match store.has_primary() {
        true => Ok(()),
        false => Err("no node takes writes".into()),
    }
}

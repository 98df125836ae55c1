//! `bookstore topology`: what each node of the database is at the moment.

use std::time::Duration;

use bookstore_store::Deadline;

use super::failure::Failure;
use crate::{app, config::Config};

/// How long a node may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// How far apart the two looks are, by which a replica's lag is told.
const PROBE_INTERVAL: Duration = Duration::from_millis(300);

/// Prints a line a node.
///
/// # Errors
/// If no node takes writes.
#[expect(clippy::print_stdout, reason = "a command's own output")]
pub async fn run(config: &Config) -> Result<(), Failure> {
    let store = app::open_store(&config.database)?;
    store.probe_nodes(Deadline::after(PROBE_TIMEOUT)).await;
    // Whether a replica has what the primary had takes a second look.
    tokio::time::sleep(PROBE_INTERVAL).await;
    let nodes = store.probe_nodes(Deadline::after(PROBE_TIMEOUT)).await;
    println!(
        "{:<28} {:<14} {:>8} {:>18} {:>10} {:>12}",
        "NODE", "ROLE", "TIMELINE", "POSITION", "LAG", "LAG BYTES"
    );
    for node in &nodes {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        println!(
            "{:<28} {:<14} {:>8} {:>18} {:>10} {:>12}",
            node.name,
            node.role.name(),
            or_none(node.timeline.map(|it| it.to_string())),
            or_none(node.lsn()),
            or_none(node.lag.map(|lag| format!("{} ms", lag.as_millis()))),
            or_none(node.lag_bytes.map(|it| it.to_string())),
        );
    }
    store.close().await;
    match store.has_primary() {
        true => Ok(()),
        false => Err("no node takes writes".into()),
    }
}

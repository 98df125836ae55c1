//! Connections for migrations, outside the pool and without the statement timeout.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{DbBackend, DbErr};

use crate::{
    deadline::Deadline,
    error::StoreError,
    session::connect::{PlainConnection, open_in_memory},
    topology::{node::Node, nodes::Topology},
};

/// How long finding the primary may take.
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether there is a database to open; `false` for a SQLite file that the first session would
/// create. A file that is missing and not to be created is opened, for the error that says so.
pub(crate) fn exists(topology: &Topology) -> bool {
    topology.nodes.iter().all(|node| !node.connector.is_to_be_created())
}

/// Opens a connection for migrations to the primary.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub(crate) async fn open(topology: &Topology) -> Result<PlainConnection, StoreError> {
    primary(topology).await?.connector.open_plain().await
}

/// Opens a connection to try a schema on: on SQLite to a new database in memory, on PostgreSQL to
/// the primary, where the caller works in a transaction that it rolls back.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub(crate) async fn open_scratch(topology: &Topology) -> Result<PlainConnection, StoreError> {
    match backend(topology) {
        DbBackend::Sqlite => open_in_memory().await,
        _ => open(topology).await,
    }
}

/// Opens a connection to read a schema: to the primary, or to any node that answers if there is no
/// primary.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub(crate) async fn open_for_inspection(
    topology: &Topology,
) -> Result<PlainConnection, StoreError> {
    let mut last = match open(topology).await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    for node in &topology.nodes {
        match node.connector.open_plain().await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The engine of the database.
pub(crate) fn backend(topology: &Topology) -> DbBackend {
    topology.nodes.first().map_or(DbBackend::Sqlite, |node| node.connector.backend())
}

/// The file of a SQLite database; `None` on PostgreSQL.
pub(crate) fn sqlite_file(topology: &Topology) -> Option<PathBuf> {
    topology.nodes.first()?.connector.sqlite_file().map(Into::into)
}

/// The current primary, also if the nodes aren't probed periodically.
async fn primary(topology: &Topology) -> Result<Arc<Node>, StoreError> {
    if topology.is_single() {
        return Ok(topology.nodes[0].clone());
    }
    if !topology.has_primary() {
        topology.probe_all(Deadline::after(PRIMARY_TIMEOUT)).await;
    }
    let none = || StoreError::Unavailable(DbErr::Custom("there is no primary".into()));
    let primary = topology.snapshot().primary.ok_or_else(none)?;
    Ok(topology.nodes[primary].clone())
}

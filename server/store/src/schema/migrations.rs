//! The connection for migrations, and the file that a migration of a SQLite database locks.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{DatabaseConnection, DbErr};

use crate::{
    deadline::Deadline,
    error::StoreError,
    session::connection::driver::Access,
    topology::{node::Node, nodes::Topology},
};

/// How long finding the primary may take.
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the migration tool runs on.
pub struct MigrationSession {
    /// A single SeaORM connection, which SeaORM's migrator requires.
    pub connection: DatabaseConnection,
    /// The file to lock on SQLite; `None` on PostgreSQL, which has advisory locks.
    pub lock_file: Option<PathBuf>,
}

/// Whether the database exists. A SQLite file may not have been created yet.
pub(crate) fn exists(topology: &Topology) -> bool {
    let nodes = &topology.nodes;
    nodes.iter().all(|node| node.connector.sqlite_file().is_none_or(std::path::Path::exists))
}

/// Opens a session for migrations on the primary, outside the pool and without the statement
/// timeout.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub(crate) async fn open(topology: &Topology) -> Result<MigrationSession, StoreError> {
    let node = primary(topology).await?;
    let connection = node.connector.open_for_migrations(&node.url).await?;
    Ok(MigrationSession { connection, lock_file: node.connector.migration_lock_file() })
}

/// The current primary, also if the nodes aren't probed periodically.
async fn primary(topology: &Topology) -> Result<Arc<Node>, StoreError> {
    if topology.is_single() {
        // SeaORM's pool would repeat a failing attempt for 30 s and hide the cause.
        let node = &topology.nodes[0];
        node.connector.open(Access::ReadWrite).await?.close().await;
        return Ok(node.clone());
    }
    if !topology.has_primary() {
        topology.probe_all(Deadline::after(PRIMARY_TIMEOUT)).await;
    }
    let none = || StoreError::Unavailable(DbErr::Custom("there is no primary".into()));
    let primary = topology.snapshot().primary.ok_or_else(none)?;
    Ok(topology.nodes[primary].clone())
}

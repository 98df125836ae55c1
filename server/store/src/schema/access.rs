//! Whether calls can read and write now: health asks for what they need.

use rand::Rng as _;
use sea_orm::{
    ConnectionTrait, DbBackend, IsolationLevel,
    sea_query::{Alias, Expr, ExprTrait, Query},
};
use uuid::Uuid;

use crate::{
    clock::now,
    deadline::Deadline,
    error::StoreError,
    idempotency::answer::TABLE,
    pool::pooled::PooledConnection,
    session::connection::driver::Access,
    topology::{node::Node, nodes::Topology},
    transaction::commands::Begin,
};

/// The size of the row that tries whether the disk has room, in bytes: more than what is free in
/// the pages that a table has.
const TRIED: usize = 256 << 10;

/// The sentence about a disk without room.
const FULL: &str = "the database's disk is full";

/// Evicts the sessions of a node whose SQLite file was removed or replaced. What they read and write
/// is no longer found under its name.
pub(crate) async fn check_file(node: &Node) {
    if node.connector.has_moved() {
        node.evict();
        node.control.close().await;
        node.probes.close().await;
    }
}

/// Checks that reads get a connection. A pool that has one is not asked, since a busy one is well.
///
/// # Errors
/// Why a node's pool, which has none, gets none.
pub(crate) async fn check_reads(
    topology: &Topology,
    node: &Node,
    deadline: Deadline,
) -> Result<(), StoreError> {
    if topology.nodes.iter().any(|node| !node.readers.is_empty()) {
        return Ok(());
    }
    node.readers.check_out(Access::ReadOnly, deadline).await.map(drop)
}

/// Why the primary takes no writes, in a sentence; `None` if it takes them.
pub(crate) async fn refuses_writes(topology: &Topology, deadline: Deadline) -> Option<String> {
    let Some(primary) = topology.snapshot().primary else {
        return Some("there is no primary".to_owned());
    };
    let node = &topology.nodes[primary];
    if node.connector.backend() == DbBackend::Postgres {
        node.examine_read_only().await;
    }
    if let Some(reason) = node.connector.refuses_writes() {
        return Some(reason);
    }
    if node.connector.is_file_system_full() {
        return Some(FULL.to_owned());
    }
    let is_full = node.connector.condition().is_disk_full();
    if !is_full && !node.writers.is_empty() {
        return None;
    }
    let pooled = match node.writers.check_out(Access::ReadWrite, deadline).await {
        Ok(pooled) => pooled,
        // Other writes use it. Whether there is room will be tried again.
        Err(StoreError::PoolTimeout { .. } | StoreError::DeadlineExceeded) if is_full => {
            return Some(FULL.to_owned());
        }
        Err(error) => return Some(error.report()),
    };
    if !is_full {
        return None;
    }
    match try_disk(&pooled).await {
        Ok(()) => {
            node.connector.condition().set_disk_full(false);
            None
        }
        Err(StoreError::DiskFull(_)) => Some(FULL.to_owned()),
        Err(error) => Some(error.report()),
    }
}

/// Writes a large row, which nothing sees.
async fn try_disk(connection: &PooledConnection) -> Result<(), StoreError> {
    let key = Uuid::new_v4();
    let mut bytes = vec![0_u8; TRIED];
    rand::rng().fill(bytes.as_mut_slice());
    let mut insert = Query::insert();
    insert
        .into_table(Alias::new(TABLE))
        .columns(
            ["principal", "key", "method", "request_mark", "answer", "created_at"].map(Alias::new),
        )
        .values_panic([
            "".into(),
            key.into(),
            "".into(),
            key.into_bytes().to_vec().into(),
            bytes.into(),
            now().into(),
        ]);
    let begin = || Begin { isolation: IsolationLevel::ReadCommitted, read_only: false, lock: None };
    connection.begin(begin()).await?;
    let inserted = connection.execute(&insert).await.map_err(StoreError::from);
    if connection.get_database_backend() == DbBackend::Postgres {
        // The statement itself has taken the room. A commit might wait for replicas.
        connection.rollback().await;
        return inserted.map(drop);
    }
    if let Err(error) = inserted {
        connection.rollback().await;
        return Err(error);
    }
    connection.commit().await?;
    connection.begin(begin()).await?;
    let mut delete = Query::delete();
    delete.from_table(Alias::new(TABLE)).and_where(Expr::col(Alias::new("key")).eq(key));
    if let Err(error) = connection.execute(&delete).await {
        connection.rollback().await;
        return Err(error.into());
    }
    connection.commit().await.map(drop)
}

//! Whether calls can read and write now: health asks for what they need.

use rand::Rng as _;
use sea_orm::{
    ConnectionTrait, DbBackend, IsolationLevel,
    sea_query::{Alias, Expr, ExprTrait, Query},
};
use uuid::Uuid;

use crate::{
    deadline::Deadline,
    error::StoreError,
    idempotency::answer::{TABLE, insert_key},
    pool::pooled::PooledConnection,
    session::connection::driver::Access,
    topology::{node::Node, nodes::Topology},
    transaction::commands::{Begin, LONGEST_IDLE},
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
    let insert = insert_key("", key, "", key.as_bytes(), bytes);
    let begin = || Begin {
        isolation: IsolationLevel::ReadCommitted,
        read_only: false,
        lock: None,
        idle: LONGEST_IDLE,
    };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        pool::PoolOptions, session::statement_log::StatementLog, topology::TopologyOptions,
    };

    #[tokio::test]
    async fn full_disk_refuses_writes_until_a_row_can_be_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("b.db").display());
        let one = PoolOptions { size: 1, max_overflow: 0, ..PoolOptions::default() };
        let timeout = Duration::from_secs(5);
        let node =
            Node::new("one", &url, StatementLog::default(), timeout, true, |_| (one, Some(one)));
        let node = node.expect("a node");
        let topology = Topology::new(vec![node.clone()], 1, TopologyOptions::default());
        let run = async |sql: &str| {
            let pooled = node.writers.check_out(Access::ReadWrite, Deadline::NONE).await;
            pooled.expect("a connection").execute_unprepared(sql).await
        };
        let table = format!(
            "CREATE TABLE {TABLE} (principal text, key blob, method text, request_mark blob, \
             answer blob, created_at text)"
        );
        run(&table).await.expect("a table");
        let refused = async || refuses_writes(&topology, Deadline::after(timeout)).await;
        assert_eq!(refused().await, None);
        // The limit of a database's size has the same result code as a full disk.
        run("PRAGMA max_page_count = 3").await.expect("a limit");
        assert_eq!(refused().await, None, "no write has failed yet");
        let large = format!("INSERT INTO {TABLE} (answer) VALUES (randomblob(100000))");
        run(&large).await.expect_err("a full disk");
        assert_eq!(refused().await.as_deref(), Some(FULL));
        assert_eq!(refused().await.as_deref(), Some(FULL), "it is still full");
        run("PRAGMA max_page_count = 100000").await.expect("no limit");
        assert_eq!(refused().await, None);
        let deleted = run(&format!("DELETE FROM {TABLE}")).await.expect("no rows");
        assert_eq!(deleted.rows_affected(), 0, "nothing is left of the trial");
    }
}

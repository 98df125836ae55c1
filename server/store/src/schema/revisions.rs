//! Whether the database has the schema that this program needs.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::{
    deadline::Deadline,
    error::StoreError,
    schema::{access, nodes::nodes_to_ask},
    session::connection::Connection,
    topology::{nodes::Topology, probe},
};

/// The state of the database's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Every revision of this program is applied.
    Right {
        /// Applied revisions that this program doesn't know: those of a newer one.
        unknown: Vec<String>,
        /// Why writes are refused, in a sentence; `None` if they are taken.
        refuses_writes: Option<String>,
    },
    /// These revisions are missing.
    Pending(Vec<String>),
    /// A revision of a newer program shuts out programs like this one.
    ShutOut {
        /// The revision.
        revision: String,
        /// The revision that a program must know.
        minimum_head: String,
    },
}

/// Compares the database's revisions with `known`. Returns the sealing key too if none is
/// missing.
///
/// # Errors
/// If no node answers within `deadline`.
pub(crate) async fn compare(
    topology: &Topology,
    known: &[String],
    deadline: Deadline,
) -> Result<(Schema, Option<[u8; 32]>), StoreError> {
    let examine = async |connection: &Connection| examine(topology, connection, known).await;
    let mut last = StoreError::internal("there is no node");
    for node in nodes_to_ask(topology) {
        let node = &topology.nodes[node];
        access::check_file(node).await;
        match node.ask(deadline, examine).await {
            Ok((Schema::Right { unknown, refuses_writes }, key)) => {
                access::check_reads(topology, node, deadline).await?;
                let refuses_writes = match refuses_writes {
                    None => access::refuses_writes(topology, deadline).await,
                    refused => refused,
                };
                return Ok((Schema::Right { unknown, refuses_writes }, key));
            }
            Ok(other) => return Ok(other),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn examine(
    topology: &Topology,
    connection: &Connection,
    known: &[String],
) -> Result<(Schema, Option<[u8; 32]>), StoreError> {
    let backend = connection.get_database_backend();
    let table = match backend {
        DbBackend::Postgres => "SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL",
        _ => "SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations'",
    };
    let there = connection.query_one_raw(Statement::from_string(backend, table)).await?;
    if there.is_none() {
        return Ok((Schema::Pending(known.to_vec()), None));
    }
    let applied = "SELECT version FROM seaql_migrations ORDER BY version";
    let applied = connection.query_all_raw(Statement::from_string(backend, applied)).await?;
    let applied: Vec<String> =
        applied.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let pending: Vec<String> =
        known.iter().filter(|revision| !applied.contains(revision)).cloned().collect();
    if !pending.is_empty() {
        return Ok((Schema::Pending(pending), None));
    }
    if let Some(shut_out) = shuts_out(connection, known, &applied).await? {
        return Ok((shut_out, None));
    }
    // Read each time: reverting the first migration and applying it again makes a new key.
    let key = read_sealing_key(connection).await?;
    let known: HashSet<&String> = known.iter().collect();
    let unknown = applied.into_iter().filter(|revision| !known.contains(revision)).collect();
    let no_primary = "there is no primary".to_owned();
    let refuses_writes = (!takes_writes(topology, connection).await?).then_some(no_primary);
    Ok((Schema::Right { unknown, refuses_writes }, Some(key)))
}

/// Whether an applied revision that this program doesn't know requires another unknown one.
async fn shuts_out(
    connection: &Connection,
    known: &[String],
    applied: &[String],
) -> Result<Option<Schema>, StoreError> {
    if applied.iter().all(|revision| known.contains(revision)) {
        return Ok(None);
    }
    let backend = connection.get_database_backend();
    let table = match backend {
        DbBackend::Postgres => "SELECT 1 WHERE to_regclass('bookstore_migrations') IS NOT NULL",
        _ => "SELECT 1 FROM sqlite_master WHERE name = 'bookstore_migrations'",
    };
    if connection.query_one_raw(Statement::from_string(backend, table)).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT version, minimum_head FROM bookstore_migrations \
               WHERE minimum_head IS NOT NULL ORDER BY version";
    for row in connection.query_all_raw(Statement::from_string(backend, sql)).await? {
        let (revision, minimum_head): (String, String) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if applied.contains(&revision) && !known.contains(&minimum_head) {
            return Ok(Some(Schema::ShutOut { revision, minimum_head }));
        }
    }
    Ok(None)
}

async fn read_sealing_key(connection: &Connection) -> Result<[u8; 32], StoreError> {
    let backend = connection.get_database_backend();
    let sql = "SELECT key FROM sealing_keys WHERE id = 1";
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
    let key: Option<Vec<u8>> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.ok_or_else(|| StoreError::internal("table sealing_keys has no key"))
}

/// Whether there is a primary. A single node is asked itself.
async fn takes_writes(topology: &Topology, connection: &Connection) -> Result<bool, StoreError> {
    let backend = connection.get_database_backend();
    let Some(primary) = topology.snapshot().primary else { return Ok(false) };
    if backend != DbBackend::Postgres {
        return Ok(true);
    }
    if topology.is_single() {
        let statement =
            Statement::from_string(backend, "SELECT NOT pg_is_in_recovery(), pg_backend_pid()");
        let row = connection.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| StoreError::internal("a node says nothing"))?;
        if let Some(server) = connection.server() {
            probe::check_process(server.process, row.try_get_by_index(1)?).inspect_err(|_| {
                topology.nodes[primary].evict();
            })?;
        }
        if !row.try_get_by_index::<bool>(0)? {
            return Ok(false);
        }
    }
    Ok(true)
}

//! Whether the database has the schema that this program needs.

pub(crate) mod migrations;
mod needs;

use std::{collections::HashSet, sync::PoisonError};

use sea_orm::{ConnectionTrait, DbBackend, Statement};

pub use self::needs::Needs;
use crate::{deadline::Deadline, error::StoreError, store::Store};

/// What the database's schema is to this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Every revision that this program knows is applied; and these that it doesn't know.
    Right {
        /// Revisions of a newer program.
        unknown: Vec<String>,
        /// Whether a node takes writes: one is known that is no replica.
        primary: bool,
    },
    /// Revisions are missing.
    Pending(Vec<String>),
    /// A revision of a newer program shuts out programs like this one.
    ShutOut {
        /// The revision.
        revision: String,
        /// The revision that a program has to know.
        minimum_head: String,
    },
}

impl Store {
    /// Compares the database's revisions with those that this program knows, and reads the
    /// sealing key if none is missing.
    ///
    /// # Errors
    /// If the database can't be asked within `deadline`.
    pub async fn schema(&self, known: &[String], deadline: Deadline) -> Result<Schema, StoreError> {
        let examine = async |connection: &super::Connection| self.examine(connection, known).await;
        let mut last = StoreError::internal("there is no node");
        for node in self.nodes_to_ask() {
            match self.0.topology.nodes[node].control.ask(deadline, examine).await {
                Ok(schema) => return Ok(schema),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The nodes in the order in which they are asked about the schema: the primary first.
    fn nodes_to_ask(&self) -> Vec<usize> {
        let topology = &self.0.topology;
        let snapshot = topology.snapshot();
        let known_to_answer = snapshot.replicas.iter().map(|replica| replica.node);
        let mut nodes: Vec<usize> = snapshot.primary.into_iter().chain(known_to_answer).collect();
        if nodes.is_empty() {
            nodes.extend(0..topology.nodes.len());
        }
        nodes
    }

    async fn examine(
        &self,
        connection: &super::Connection,
        known: &[String],
    ) -> Result<Schema, StoreError> {
        let backend = connection.get_database_backend();
        let table = match backend {
            DbBackend::Postgres => "SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL",
            _ => "SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations'",
        };
        let there = connection.query_one_raw(Statement::from_string(backend, table)).await?;
        if there.is_none() {
            return Ok(Schema::Pending(known.to_vec()));
        }
        let applied = "SELECT version FROM seaql_migrations ORDER BY version";
        let applied = connection.query_all_raw(Statement::from_string(backend, applied)).await?;
        let applied: Vec<String> =
            applied.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
        let pending: Vec<String> =
            known.iter().filter(|revision| !applied.contains(revision)).cloned().collect();
        if !pending.is_empty() {
            return Ok(Schema::Pending(pending));
        }
        if let Some(shut_out) = self.shuts_out(connection, known, &applied).await? {
            return Ok(shut_out);
        }
        // Each time, for it is another one once the first migration was reverted and
        // applied again.
        self.read_sealing_key(connection).await?;
        let known: HashSet<&String> = known.iter().collect();
        let unknown = applied.into_iter().filter(|revision| !known.contains(revision)).collect();
        Ok(Schema::Right { unknown, primary: self.takes_writes(connection).await? })
    }

    /// Whether a revision that this program doesn't know asks for one that it doesn't know either.
    async fn shuts_out(
        &self,
        connection: &super::Connection,
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

    async fn read_sealing_key(&self, connection: &super::Connection) -> Result<(), StoreError> {
        let backend = connection.get_database_backend();
        let sql = "SELECT key FROM sealing_keys WHERE id = 1";
        let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
        let key: Option<Vec<u8>> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
        let key = key.ok_or_else(|| StoreError::internal("table sealing_keys has no key"))?;
        let key = self.0.given_key.unwrap_or(key);
        *self.0.sealing_key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
        Ok(())
    }

    /// Whether a node takes writes: the one that was asked, where it is the only one.
    async fn takes_writes(&self, connection: &super::Connection) -> Result<bool, StoreError> {
        let backend = connection.get_database_backend();
        if backend != DbBackend::Postgres || !self.0.topology.is_single() {
            return Ok(self.has_primary());
        }
        let statement = Statement::from_string(backend, "SELECT NOT pg_is_in_recovery()");
        let row = connection.query_one_raw(statement).await?;
        let primary = row.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(primary.unwrap_or_default())
    }
}

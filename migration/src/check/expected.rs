//! The schema that revisions make: replayed, or from the snapshot.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{CheckError, inside::Inside};
use crate::{
    catalog::Catalog,
    error::MigrationError,
    expression::Engine,
    replay::{replay, replay_down},
    revision::Revision,
    revisions::revisions,
};

/// What the migrations make on PostgreSQL. CONTRIBUTING.md describes how to regenerate it.
pub const SNAPSHOT: &str = include_str!("../catalog/head.postgres.tsv");

/// Where an expected schema comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaOrigin {
    /// The migrations were replayed.
    Replay,
    /// From the snapshot in the program.
    Snapshot,
}

impl SchemaOrigin {
    /// `replay` or `snapshot`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Snapshot => "snapshot",
        }
    }
}

/// How the expected schema may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayPolicy {
    /// By the migrations where that is allowed, else by the snapshot.
    Allowed,
    /// By the snapshot alone: nothing is created, not even in a transaction.
    Never,
}

/// The schema that these revisions make, and where it comes from.
pub(super) async fn schema<C: ConnectionTrait>(
    inside: &Inside<'_, C>,
    scratch: Option<&C>,
    replay: ReplayPolicy,
    applied: &[Revision],
) -> Result<(Catalog, SchemaOrigin), CheckError> {
    if inside.engine == Engine::Sqlite {
        let scratch = scratch.ok_or_else(|| {
            DbErr::Custom("a check of SQLite needs a database in memory".to_owned())
        })?;
        return Ok((replayed(scratch, applied).await?, SchemaOrigin::Replay));
    }
    let reason = match replay {
        ReplayPolicy::Never => "nothing may be created".to_owned(),
        ReplayPolicy::Allowed => match Scratch::make(inside.connection).await? {
            Ok(scratch) => {
                scratch.replay(applied).await?;
                return Ok((scratch.read().await?, SchemaOrigin::Replay));
            }
            Err(reason) => reason,
        },
    };
    // The snapshot is of the released revisions, all of them.
    let released: Vec<String> = revisions().into_iter().map(|one| one.name).collect();
    if !applied.iter().map(|one| &one.name).eq(&released) {
        let head = released.last().cloned().unwrap_or_default();
        return Err(CheckError::NoReplay { reason, head });
    }
    Ok((Catalog::from_snapshot(Engine::Postgres, SNAPSHOT)?, SchemaOrigin::Snapshot))
}

/// Replays revisions on an empty database or schema, as the connection stands, and reads what they
/// make.
///
/// # Errors
/// [`CheckError::Replay`], or what the database answers.
pub async fn replayed<C: ConnectionTrait>(
    connection: &C,
    revisions: &[Revision],
) -> Result<Catalog, CheckError> {
    replay(connection, revisions).await?;
    Ok(Catalog::read(connection).await?)
}

/// An empty schema of PostgreSQL to replay revisions in. It is never committed: the connection is
/// inside a transaction that the caller rolls back.
pub struct Scratch<'a, C> {
    connection: &'a C,
    schema: String,
}

impl<'a, C: ConnectionTrait> Scratch<'a, C> {
    /// Creates the schema and makes it the only one on the `search_path`. Returns the reason if
    /// nothing may be created: a replica, a session that only reads, a role without the right.
    ///
    /// # Errors
    /// What the database answers otherwise.
    pub async fn make(connection: &'a C) -> Result<Result<Self, String>, DbErr> {
        let sql = "SELECT pg_is_in_recovery() \
                   OR current_setting('transaction_read_only')::boolean, \
                   has_database_privilege(current_database(), 'CREATE'), pg_backend_pid()";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = connection.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("the session's rights".to_owned()))?;
        if row.try_get_by_index(0)? {
            return Ok(Err("the session is read-only".to_owned()));
        }
        if !row.try_get_by_index::<bool>(1)? {
            return Ok(Err("the role may not create a schema".to_owned()));
        }
        // A name of its own, so that two checks don't wait for each other.
        let schema = format!("bookstore_scratch_{}", row.try_get_by_index::<i32>(2)?);
        let make = format!("CREATE SCHEMA {schema}; SET LOCAL search_path = {schema}");
        connection.execute_unprepared(&make).await?;
        Ok(Ok(Self { connection, schema }))
    }

    /// Runs SQL in the schema.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn run(&self, sql: &str) -> Result<(), DbErr> {
        self.connection.execute_unprepared(sql).await.map(drop)
    }

    /// Replays revisions in the schema.
    ///
    /// # Errors
    /// What the database answers, with the revision.
    pub async fn replay(&self, revisions: &[Revision]) -> Result<(), MigrationError> {
        replay(self.connection, revisions).await
    }

    /// Reverts revisions in the schema, the last one first.
    ///
    /// # Errors
    /// What the database answers, with the revision.
    pub async fn revert(&self, revisions: &[Revision]) -> Result<(), MigrationError> {
        replay_down(self.connection, revisions).await
    }

    /// Reads the schema.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn read(&self) -> Result<Catalog, DbErr> {
        Catalog::read_schema(self.connection, &self.schema).await
    }
}

//! `check`: the schema that is there against the one that the migrations make.
//!
//! What the migrations make is read where they are replayed: on PostgreSQL in a schema of its own,
//! in a transaction that is rolled back; on SQLite in memory. Where nothing may be created, as for a
//! role that only reads and on a replica, a snapshot that the program carries stands in.

mod applied;
mod expected;
mod rows;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use thiserror::Error;

use crate::{
    catalog::{Catalog, SnapshotError},
    chain::Chain,
    drift::{Finding, Level, Loss, Repair, compare},
    error::MigrationError,
    expression::Engine,
};

pub use self::expected::{Origin, SNAPSHOT, Scratch, replayed};

/// Why a schema could not be checked.
#[derive(Debug, Error)]
pub enum CheckError {
    /// What the database answers.
    #[error("{0}")]
    Database(#[from] DbErr),
    /// The snapshot in the program can't be read: an error of the build.
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    /// Nothing may be created, and the snapshot is of another revision.
    #[error(
        "the migrations can't be replayed here ({reason}), and the snapshot that the program \
         carries is of {head}, to which the database isn't migrated: check as the schema's owner"
    )]
    NoReplay {
        /// Why nothing may be created.
        reason: String,
        /// The revision of the snapshot.
        head: String,
    },
    /// The migrations can't be replayed at all.
    #[error("{0}")]
    Replay(#[from] MigrationError),
}

/// What a check says.
#[derive(Clone, Debug)]
pub struct Report {
    /// The differences, errors first.
    pub findings: Vec<Finding>,
    /// Where the expected schema comes from.
    pub origin: Origin,
    /// The last revision that is applied; none if none is.
    pub revision: Option<String>,
    /// The schema that is there.
    pub found: Catalog,
}

impl Report {
    /// Whether the schema is another one than the migrations make. Notes don't count.
    pub fn is_drift(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }
}

/// How the expected schema may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// By the migrations where that is allowed, else by the snapshot.
    Allowed,
    /// By the snapshot alone: nothing is created, not even in a transaction.
    Never,
}

/// Compares the schema of `connection` with what the revisions make that are applied to it.
/// `scratch` is an empty database in memory, which SQLite's migrations are replayed in.
///
/// On PostgreSQL all of it is one transaction of the isolation level REPEATABLE READ, which is
/// rolled back. It takes no lock above ACCESS SHARE on anything that was there before.
///
/// # Errors
/// [`CheckError`].
pub async fn check<C: ConnectionTrait>(
    connection: &C,
    scratch: Option<&C>,
    replay: Replay,
    chain: &Chain,
) -> Result<Report, CheckError> {
    let inside = Inside::begin(connection).await?;
    let result = inside.examine(scratch, replay, chain).await;
    inside.end().await?;
    result
}

/// The transaction in which everything is read.
struct Inside<'a, C> {
    connection: &'a C,
    engine: Engine,
    /// On PostgreSQL the service's schema. The replay puts its own on the `search_path`.
    schema: Option<String>,
}

impl<'a, C: ConnectionTrait> Inside<'a, C> {
    async fn begin(connection: &'a C) -> Result<Self, DbErr> {
        let engine = Engine::from(connection.get_database_backend());
        let begin = match engine {
            Engine::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Engine::Sqlite => "BEGIN",
        };
        connection.execute_unprepared(begin).await?;
        let schema = match engine {
            Engine::Postgres => {
                let sql = "SELECT current_schema()::text";
                let statement = Statement::from_string(DbBackend::Postgres, sql);
                let row = connection.query_one_raw(statement).await?;
                row.map(|row| row.try_get_by_index(0)).transpose()?.flatten()
            }
            Engine::Sqlite => None,
        };
        Ok(Self { connection, engine, schema })
    }

    async fn end(&self) -> Result<(), DbErr> {
        self.connection.execute_unprepared("ROLLBACK").await.map(drop)
    }

    async fn examine(
        &self,
        scratch: Option<&C>,
        replay: Replay,
        chain: &Chain,
    ) -> Result<Report, CheckError> {
        let known = chain.names();
        let found = Catalog::read(self.connection).await?;
        let applied = applied::read(self.connection).await?;
        let pending: Vec<&String> = known.iter().filter(|name| !applied.contains(name)).collect();
        let unknown: Vec<&String> = applied.iter().filter(|name| !known.contains(name)).collect();
        let revisions: Vec<_> =
            chain.revisions().iter().filter(|one| applied.contains(&one.name)).cloned().collect();
        let mut weighed = Vec::new();
        let mut findings: Vec<Finding> = Vec::new();
        if !applied.is_empty() {
            let (expected, origin) = expected::schema(self, scratch, replay, &revisions).await?;
            let comparison = compare(&expected, &found);
            findings = comparison.findings();
            rows::weigh(self, &mut findings).await?;
            weighed.push(origin);
        }
        if !unknown.is_empty() {
            // What a newer program's revisions make can't be distinguished from drift.
            findings.iter_mut().for_each(|finding| finding.level = Level::Note);
        }
        findings.extend(pending.into_iter().map(|name| revision("pending", name, Level::Error)));
        findings.extend(unknown.into_iter().map(|name| revision("unknown", name, Level::Note)));
        findings.sort_by_key(|finding| finding.level);
        Ok(Report {
            findings,
            origin: weighed.pop().unwrap_or(Origin::Replay),
            revision: applied.last().cloned(),
            found,
        })
    }
}

/// A revision that the program and the database don't both know.
fn revision(what: &str, name: &str, level: Level) -> Finding {
    let (expected, found) = match what {
        "pending" => (Some("applied".to_owned()), None),
        _ => (None, Some("applied by another program".to_owned())),
    };
    Finding {
        kind: format!("revision.{what}"),
        object: name.to_owned(),
        table: None,
        level,
        expected,
        found,
        along: Vec::new(),
        repair: Repair::No,
        repair_loses: Loss::No,
    }
}

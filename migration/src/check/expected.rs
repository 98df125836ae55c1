//! The schema that revisions make: replayed, or from the snapshot.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement};
use sea_orm_migration::{MigratorTrait, SchemaManager};

use super::{CheckError, Inside, Replay};
use crate::{Migrator, catalog::Catalog, expression::Engine};

/// What the migrations make on PostgreSQL. CONTRIBUTING.md says how it is written anew.
pub const SNAPSHOT: &str = include_str!("../catalog/head.postgres.tsv");

/// The schema that the migrations are replayed into. It is never committed.
const SCRATCH: &str = "bookstore_migrate_check";

/// Where an expected schema comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The migrations were replayed.
    Replay,
    /// From the snapshot that the program carries.
    Snapshot,
}

impl Origin {
    /// `replay` or `snapshot`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Snapshot => "snapshot",
        }
    }
}

/// The schema that these revisions make, and where it comes from.
pub(super) async fn schema(
    inside: &Inside<'_>,
    scratch: Option<&DatabaseConnection>,
    replay: Replay,
    revisions: &[String],
) -> Result<(Catalog, Origin), CheckError> {
    if inside.engine == Engine::Sqlite {
        let scratch = scratch.ok_or_else(|| {
            DbErr::Custom("a check of SQLite needs a database in memory".to_owned())
        })?;
        return Ok((replayed(scratch, revisions).await?, Origin::Replay));
    }
    let reason = match replay {
        Replay::Never => "nothing may be created".to_owned(),
        Replay::Allowed => match refusal(inside.connection).await? {
            None => {
                let catalog = replayed_in_schema(inside.connection, revisions).await?;
                return Ok((catalog, Origin::Replay));
            }
            Some(reason) => reason,
        },
    };
    let known = crate::tool::known();
    if revisions != known {
        let head = known.last().cloned().unwrap_or_default();
        return Err(CheckError::NoReplay { reason, head });
    }
    Ok((Catalog::from_snapshot(Engine::Postgres, SNAPSHOT)?, Origin::Snapshot))
}

/// Why the migrations can't be replayed here; none if the scratch schema has been made.
async fn refusal(connection: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    let sql = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean, \
               has_database_privilege(current_database(), 'CREATE')";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get_by_index(0)? {
        return Ok(Some("the session is read-only".to_owned()));
    }
    if !row.try_get_by_index::<bool>(1)? {
        return Ok(Some("the role may not create a schema".to_owned()));
    }
    connection.execute_unprepared("SAVEPOINT scratch").await?;
    let make = format!("CREATE SCHEMA {SCRATCH}");
    match connection.execute_unprepared(&make).await {
        Ok(_) => Ok(None),
        Err(DbErr::Exec(RuntimeErr::SqlxError(error))) => {
            connection.execute_unprepared("ROLLBACK TO SAVEPOINT scratch").await?;
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

async fn replayed_in_schema(
    connection: &DatabaseConnection,
    revisions: &[String],
) -> Result<Catalog, CheckError> {
    let path = format!("SET LOCAL search_path = {SCRATCH}");
    connection.execute_unprepared(&path).await?;
    run(connection, revisions).await?;
    Ok(Catalog::read_schema(connection, SCRATCH).await?)
}

/// Replays revisions on a connection as it is, in an empty schema, and reads what they make.
///
/// # Errors
/// [`CheckError::Replay`], or what the database answers.
pub async fn replayed(
    connection: &DatabaseConnection,
    revisions: &[String],
) -> Result<Catalog, CheckError> {
    run(connection, revisions).await?;
    Ok(Catalog::read(connection).await?)
}

async fn run(connection: &DatabaseConnection, revisions: &[String]) -> Result<(), CheckError> {
    let manager = SchemaManager::new(connection);
    for migration in Migrator::migrations() {
        if revisions.iter().any(|name| name == migration.name()) {
            let revision = migration.name().to_owned();
            let named = |source| CheckError::Replay { revision, source };
            migration.up(&manager).await.map_err(named)?;
        }
    }
    Ok(())
}

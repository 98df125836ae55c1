//! Runs revisions on an empty schema, to read what they make.

use sea_orm::ConnectionTrait;

use crate::{
    error::MigrationError,
    manager::SchemaManager,
    rebuild,
    revision::{Action, Direction, Engine, Revision, Step},
    sql::facts,
};

/// Applies revisions to a connection as it stands: in its transaction, by its search path.
///
/// It checks no rows, takes no lock and records nothing. CONCURRENTLY is removed from the texts, so
/// that it runs inside a transaction too. On SQLite, revisions that rebuild a table need `PRAGMA
/// foreign_keys = OFF` first.
///
/// # Errors
/// What the database answers, with the revision.
pub async fn replay<C: ConnectionTrait>(
    connection: &C,
    revisions: &[Revision],
) -> Result<(), MigrationError> {
    for revision in revisions {
        run(connection, revision, Direction::Up).await?;
    }
    Ok(())
}

/// Reverts revisions on a connection as it stands, the last of the list first.
///
/// # Errors
/// What the database answers, with the revision.
pub async fn replay_down<C: ConnectionTrait>(
    connection: &C,
    revisions: &[Revision],
) -> Result<(), MigrationError> {
    for revision in revisions.iter().rev() {
        run(connection, revision, Direction::Down).await?;
    }
    Ok(())
}

async fn run<C: ConnectionTrait>(
    connection: &C,
    revision: &Revision,
    direction: Direction,
) -> Result<(), MigrationError> {
    let engine = Engine::of(connection);
    for (at, step) in revision.steps(engine, direction).iter().enumerate() {
        self::step(connection, &revision.name, at, step).await?;
    }
    Ok(())
}

/// Runs one step of a revision, counted from 0.
pub(crate) async fn step<C: ConnectionTrait>(
    connection: &C,
    revision: &str,
    at: usize,
    step: &Step,
) -> Result<(), MigrationError> {
    perform(connection, step).await.map_err(|source| MigrationError::Step {
        revision: revision.to_owned(),
        step: at + 1,
        summary: step.summary(),
        outcome: String::new(),
        source,
    })
}

async fn perform<C: ConnectionTrait>(connection: &C, step: &Step) -> Result<(), sea_orm::DbErr> {
    let engine = Engine::of(connection);
    match &step.action {
        Action::Sql(text) => {
            let text = facts::without_concurrently(text, engine);
            connection.execute_unprepared(&text).await?;
        }
        Action::Rebuild(rebuild) => rebuild::perform(connection, rebuild).await?,
        Action::Backfill(backfill) => {
            connection.execute_unprepared(&backfill.statement()).await?;
        }
        Action::Code(code) => (code.run)(&SchemaManager::new(connection)).await?,
    }
    Ok(())
}

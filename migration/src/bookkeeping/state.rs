//! Reads the bookkeeping, without changing anything.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use crate::{
    chain::Chain,
    error::MigrationError,
    revision::{Engine, Revision},
};

/// The recorded details of an applied revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The revision that it follows.
    pub parent: Option<String>,
    /// Its purpose.
    pub message: String,
    /// Its author.
    pub author: Option<String>,
    /// The newest revision that a program must know to run on the schema.
    pub minimum_head: Option<String>,
    /// The hash of its steps.
    pub hash: String,
    /// The program that applied it; none if it was adopted.
    pub program: Option<String>,
    /// How it was recorded if no step ran, or why its hash was replaced.
    pub note: Option<String>,
}

/// A revision that is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: String,
    /// When, in seconds since 1970.
    pub applied_at: i64,
    /// The details; none if a program without them applied it.
    pub details: Option<Details>,
}

/// The state of a step of a half applied revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepState {
    /// The step, from 1.
    pub step: usize,
    /// The hash of what was run.
    pub hash: String,
    /// Whether it is done; otherwise it was begun.
    pub is_done: bool,
}

/// The state of a database's revisions.
#[derive(Clone, Debug, Default)]
pub struct BookkeepingState {
    /// The revisions that are applied, by name.
    pub applied: Vec<Applied>,
    /// The steps of revisions that are applied by half, by name.
    pub half: HashMap<String, Vec<StepState>>,
    /// Whether all tables of the bookkeeping are there.
    pub is_installed: bool,
}

async fn has_table<C: ConnectionTrait>(connection: &C, table: &str) -> Result<bool, DbErr> {
    let backend = connection.get_database_backend();
    let sql = match Engine::from(backend) {
        Engine::Postgres => format!("SELECT 1 WHERE to_regclass('{table}') IS NOT NULL"),
        Engine::Sqlite => format!("SELECT 1 FROM sqlite_schema WHERE name = '{table}'"),
    };
    Ok(connection.query_one_raw(Statement::from_string(backend, sql)).await?.is_some())
}

/// Reads the state of a database. One that was never migrated has nothing applied.
///
/// # Errors
/// What the database answers.
pub async fn read<C: ConnectionTrait>(connection: &C) -> Result<BookkeepingState, DbErr> {
    let backend = connection.get_database_backend();
    let all =
        async |sql: &str| connection.query_all_raw(Statement::from_string(backend, sql)).await;
    let mut state = BookkeepingState::default();
    if !has_table(connection, "seaql_migrations").await? {
        return Ok(state);
    }
    let mut details = HashMap::new();
    state.is_installed = has_table(connection, "bookstore_migration_lock").await?;
    if state.is_installed {
        let sql = r#"SELECT "version", "parent", "message", "author", "minimum_head", "hash", "program", "note" FROM "bookstore_migrations""#;
        for row in all(sql).await? {
            details.insert(row.try_get_by_index::<String>(0)?, read_details(&row)?);
        }
        let sql = r#"SELECT "version", "step", "hash", "state" FROM "bookstore_migration_steps" ORDER BY 1, 2"#;
        for row in all(sql).await? {
            let step = StepState {
                step: usize::try_from(row.try_get_by_index::<i32>(1)?).unwrap_or_default(),
                hash: row.try_get_by_index(2)?,
                is_done: row.try_get_by_index::<String>(3)? == "DONE",
            };
            state.half.entry(row.try_get_by_index(0)?).or_default().push(step);
        }
    }
    let sql = r#"SELECT "version", "applied_at" FROM "seaql_migrations" ORDER BY "version""#;
    for row in all(sql).await? {
        let (name, applied_at): (String, i64) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        state.applied.push(Applied { details: details.remove(&name), name, applied_at });
    }
    Ok(state)
}

fn read_details(row: &QueryResult) -> Result<Details, DbErr> {
    Ok(Details {
        parent: row.try_get_by_index(1)?,
        message: row.try_get_by_index(2)?,
        author: row.try_get_by_index(3)?,
        minimum_head: row.try_get_by_index(4)?,
        hash: row.try_get_by_index(5)?,
        program: row.try_get_by_index(6)?,
        note: row.try_get_by_index(7)?,
    })
}

/// The SQL of a revision as it was applied, if that is recorded.
///
/// # Errors
/// What the database answers.
pub async fn recorded_sql<C: ConnectionTrait>(
    connection: &C,
    name: &str,
) -> Result<Option<String>, DbErr> {
    if !has_table(connection, "bookstore_migrations").await? {
        return Ok(None);
    }
    let sql = r#"SELECT "sql" FROM "bookstore_migrations" WHERE "version" = $1"#;
    let backend = connection.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, sql, [name.into()]);
    connection.query_one_raw(statement).await?.map(|row| row.try_get_by_index(0)).transpose()
}

impl BookkeepingState {
    /// Whether a revision is applied.
    pub fn is_applied(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// What is recorded of a revision that is applied.
    pub fn get(&self, name: &str) -> Option<&Applied> {
        self.applied.iter().find(|applied| applied.name == name)
    }

    /// The steps of a revision that is applied by half.
    pub fn half_of(&self, name: &str) -> Option<&[StepState]> {
        if self.is_applied(name) { None } else { self.half.get(name).map(Vec::as_slice) }
    }

    /// The applied revisions that are unknown to a program.
    pub fn unknown<'a>(&'a self, chain: &Chain) -> Vec<&'a Applied> {
        self.applied.iter().filter(|applied| chain.get(&applied.name).is_none()).collect()
    }

    /// How many of a chain's revisions are applied: they are its first ones.
    ///
    /// # Errors
    /// If a revision is applied whose predecessor isn't.
    pub fn place(&self, chain: &Chain) -> Result<usize, MigrationError> {
        let revisions = chain.revisions();
        let place = revisions.iter().take_while(|one| self.is_applied(&one.name)).count();
        let gap = |applied: &&Revision| self.is_applied(&applied.name);
        match (revisions.get(place), revisions.iter().skip(place).find(gap)) {
            (Some(missing), Some(applied)) => Err(MigrationError::Gap {
                missing: missing.name.clone(),
                applied: applied.name.clone(),
            }),
            _ => Ok(place),
        }
    }

    /// Compares the recorded hashes with a chain's.
    ///
    /// # Errors
    /// If a revision was edited after it was applied.
    pub fn check_hashes(&self, chain: &Chain, engine: Engine) -> Result<(), MigrationError> {
        for revision in chain.revisions() {
            let Some(details) = self.get(&revision.name).and_then(|one| one.details.as_ref())
            else {
                continue;
            };
            let own = revision.hash(engine);
            if own != details.hash {
                let (revision, recorded) = (revision.name.clone(), details.hash.clone());
                return Err(MigrationError::Changed { revision, own, recorded });
            }
        }
        Ok(())
    }

    /// Checks a chain against what unknown revisions require of programs.
    ///
    /// # Errors
    /// If one of them refuses this program.
    pub fn check_minimum_head(&self, chain: &Chain) -> Result<(), MigrationError> {
        for applied in self.unknown(chain) {
            let minimum = applied.details.as_ref().and_then(|one| one.minimum_head.as_ref());
            if let Some(minimum_head) = minimum.filter(|name| chain.get(name).is_none()) {
                let (revision, minimum_head) = (applied.name.clone(), minimum_head.clone());
                return Err(MigrationError::ShutOut { revision, minimum_head });
            }
        }
        Ok(())
    }
}

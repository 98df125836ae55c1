//! Sessions of the database. This crate opens none: it gets an [`Opener`].

use std::{path::PathBuf, sync::Arc};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::Mutex;

use crate::revision::Engine;

/// Opens the sessions that migrations run on.
#[async_trait::async_trait]
pub trait Opener: Send + Sync {
    /// The engine of the database.
    fn engine(&self) -> Engine;

    /// The file of a SQLite database.
    fn file(&self) -> Option<PathBuf>;

    /// Opens a session on the database, that may write. On SQLite it makes the file.
    ///
    /// # Errors
    /// If the database can't be reached.
    async fn open(&self) -> Result<MigrationSession, DbErr>;

    /// Opens a session to replay revisions on. On SQLite: a new database in memory, without
    /// foreign keys. On PostgreSQL: the database itself, where they are replayed into a schema
    /// of their own, in a transaction that is rolled back.
    ///
    /// # Errors
    /// If the database can't be reached.
    async fn open_scratch(&self) -> Result<MigrationSession, DbErr>;
}

#[derive(Debug)]
enum SessionDriver {
    Postgres(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

/// One session of the database. It is never replaced by another: a lock that it holds, and a
/// transaction that it is in, end with it.
#[derive(Debug)]
pub struct MigrationSession {
    engine: Engine,
    driver: Mutex<SessionDriver>,
}

impl MigrationSession {
    /// Of a connection to PostgreSQL.
    pub fn postgres(connection: PgConnection) -> Self {
        let driver = Mutex::new(SessionDriver::Postgres(Box::new(connection)));
        Self { engine: Engine::Postgres, driver }
    }

    /// Of a connection to SQLite.
    pub fn sqlite(connection: SqliteConnection) -> Self {
        let driver = Mutex::new(SessionDriver::Sqlite(Box::new(connection)));
        Self { engine: Engine::Sqlite, driver }
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Ends the session.
    pub async fn close(self) {
        // Whether the termination message arrives makes no difference.
        let _ = match self.driver.into_inner() {
            SessionDriver::Postgres(postgres) => postgres.close().await,
            SessionDriver::Sqlite(sqlite) => sqlite.close().await,
        };
    }
}

fn error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
}

fn values(statement: &Statement) -> SqlxValues {
    SqlxValues(statement.values.clone().unwrap_or(sea_orm::Values(Vec::new())))
}

/// The texts are the revisions' own and this crate's; values are bound.
fn text(sql: &str) -> AssertSqlSafe<&str> {
    AssertSqlSafe(sql)
}

#[async_trait::async_trait]
impl ConnectionTrait for MigrationSession {
    fn get_database_backend(&self) -> DbBackend {
        self.engine.into()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = (text(&statement.sql), values(&statement));
        match &mut *self.driver.lock().await {
            SessionDriver::Postgres(postgres) => {
                sqlx::query_with(sql, values).execute(&mut **postgres).await.map(Into::into)
            }
            SessionDriver::Sqlite(sqlite) => {
                sqlx::query_with(sql, values).execute(&mut **sqlite).await.map(Into::into)
            }
        }
        .map_err(error)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let query = sqlx::raw_sql(text(sql));
        match &mut *self.driver.lock().await {
            SessionDriver::Postgres(postgres) => {
                query.execute(&mut **postgres).await.map(Into::into)
            }
            SessionDriver::Sqlite(sqlite) => query.execute(&mut **sqlite).await.map(Into::into),
        }
        .map_err(error)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = (text(&statement.sql), values(&statement));
        match &mut *self.driver.lock().await {
            SessionDriver::Postgres(postgres) => sqlx::query_with(sql, values)
                .persistent(false)
                .fetch_all(&mut **postgres)
                .await
                .map(|rows| rows.into_iter().map(Into::into).collect()),
            SessionDriver::Sqlite(sqlite) => sqlx::query_with(sql, values)
                .persistent(false)
                .fetch_all(&mut **sqlite)
                .await
                .map(|rows| rows.into_iter().map(Into::into).collect()),
        }
        .map_err(error)
    }
}

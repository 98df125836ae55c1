//! The transaction of a check.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::expression::Engine;

/// The transaction in which everything is read.
pub(super) struct Inside<'a, C> {
    pub(super) connection: &'a C,
    pub(super) engine: Engine,
    /// On PostgreSQL the service's schema. The replay puts its own on the `search_path`.
    pub(super) schema: Option<String>,
}

impl<'a, C: ConnectionTrait> Inside<'a, C> {
    pub(super) async fn begin(connection: &'a C) -> Result<Self, DbErr> {
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

    pub(super) async fn end(&self) -> Result<(), DbErr> {
        self.connection.execute_unprepared("ROLLBACK").await.map(drop)
    }
}

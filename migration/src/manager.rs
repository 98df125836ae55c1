//! The argument of a data step in Rust: the API of sea-orm-migration's `SchemaManager`, on the
//! runner's own session.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, StatementBuilder,
    sea_query::{
        ForeignKeyCreateStatement, ForeignKeyDropStatement, IndexCreateStatement,
        IndexDropStatement, TableAlterStatement, TableCreateStatement, TableDropStatement,
        TableRenameStatement, TableTruncateStatement,
    },
};

use crate::revision::Engine;

/// A connection of any type.
#[async_trait::async_trait]
pub trait AnyConnection: Sync {
    /// The engine.
    fn backend(&self) -> DbBackend;
    /// Runs a statement with its values.
    async fn execute_any(&self, statement: Statement) -> Result<ExecResult, DbErr>;
    /// Runs statements as they stand.
    async fn execute_text(&self, sql: &str) -> Result<ExecResult, DbErr>;
    /// The rows of a statement.
    async fn query_any(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr>;
}

#[async_trait::async_trait]
impl<C: ConnectionTrait> AnyConnection for C {
    fn backend(&self) -> DbBackend {
        self.get_database_backend()
    }

    async fn execute_any(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.execute_raw(statement).await
    }

    async fn execute_text(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.execute_unprepared(sql).await
    }

    async fn query_any(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.query_all_raw(statement).await
    }
}

/// The schema and the rows, inside the step's transaction if it has one.
///
/// SeaORM's entities work with [`SchemaManager::get_connection`]; but an entity has today's
/// columns, and a revision runs on the tables of its time: name the columns.
pub struct SchemaManager<'a> {
    connection: &'a dyn AnyConnection,
}

/// Methods that take a statement of sea-query.
macro_rules! statements {
    ($($(#[$doc:meta])+ $method:ident($statement:ty);)+) => {
        impl SchemaManager<'_> {
            $($(#[$doc])+
            ///
            /// # Errors
            /// What the database answers.
            pub async fn $method(&self, statement: $statement) -> Result<(), DbErr> {
                self.execute(statement).await
            })+
        }
    };
}

statements! {
    /// Makes a table.
    create_table(TableCreateStatement);
    /// Makes an index.
    create_index(IndexCreateStatement);
    /// Makes a foreign key.
    create_foreign_key(ForeignKeyCreateStatement);
    /// Changes a table.
    alter_table(TableAlterStatement);
    /// Drops a table.
    drop_table(TableDropStatement);
    /// Renames a table.
    rename_table(TableRenameStatement);
    /// Empties a table.
    truncate_table(TableTruncateStatement);
    /// Drops an index.
    drop_index(IndexDropStatement);
    /// Drops a foreign key.
    drop_foreign_key(ForeignKeyDropStatement);
}

impl<'a> SchemaManager<'a> {
    /// On a connection.
    pub fn new(connection: &'a dyn AnyConnection) -> Self {
        Self { connection }
    }

    /// What SeaORM's queries run on.
    pub fn get_connection(&self) -> &Self {
        self
    }

    /// Runs a statement of sea-query.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn execute<S: StatementBuilder>(&self, statement: S) -> Result<(), DbErr> {
        self.connection.execute_any(self.backend().build(&statement)).await.map(drop)
    }

    async fn is_there(&self, sql: &str, values: [&str; 2]) -> Result<bool, DbErr> {
        let values = values.into_iter().filter(|value| !value.is_empty()).map(Into::into);
        let statement = Statement::from_sql_and_values(self.backend(), sql, values);
        Ok(!self.connection.query_any(statement).await?.is_empty())
    }

    /// Whether there is such a table.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn has_table(&self, table: &str) -> Result<bool, DbErr> {
        let sql = match Engine::from(self.backend()) {
            Engine::Postgres => {
                "SELECT 1 FROM pg_class WHERE relname = $1 AND relkind IN ('r', 'p') \
                 AND pg_table_is_visible(oid)"
            }
            Engine::Sqlite => "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1",
        };
        self.is_there(sql, [table, ""]).await
    }

    /// Whether a table has such a column.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn has_column(&self, table: &str, column: &str) -> Result<bool, DbErr> {
        let sql = match Engine::from(self.backend()) {
            Engine::Postgres => {
                "SELECT 1 FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid \
                 WHERE relname = $1 AND attname = $2 AND NOT attisdropped \
                 AND pg_table_is_visible(attrelid)"
            }
            Engine::Sqlite => "SELECT 1 FROM pragma_table_xinfo($1) WHERE name = $2",
        };
        self.is_there(sql, [table, column]).await
    }

    /// Whether a table has such an index.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn has_index(&self, table: &str, index: &str) -> Result<bool, DbErr> {
        let sql = match Engine::from(self.backend()) {
            Engine::Postgres => {
                "SELECT 1 FROM pg_indexes WHERE tablename = $1 AND indexname = $2 \
                 AND schemaname = ANY(current_schemas(false))"
            }
            Engine::Sqlite => {
                "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND tbl_name = $1 AND name = $2"
            }
        };
        self.is_there(sql, [table, index]).await
    }

    fn backend(&self) -> DbBackend {
        self.connection.backend()
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for SchemaManager<'_> {
    fn get_database_backend(&self) -> DbBackend {
        self.connection.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.connection.execute_any(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.connection.execute_text(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.connection.query_any(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.connection.query_any(statement).await
    }
}

//! Reads a catalog from a connection of either engine.

use sea_orm::{ConnectionTrait, DbBackend, DbErr};

use super::{Catalog, postgres, sqlite};

impl Catalog {
    /// Reads the schema of a connection. On PostgreSQL the connection is inside a transaction,
    /// whose settings are changed: see [`Catalog::read_schema`].
    ///
    /// # Errors
    /// What the database answers.
    pub async fn read<C: ConnectionTrait>(connection: &C) -> Result<Self, DbErr> {
        match connection.get_database_backend() {
            DbBackend::Postgres => {
                let schema = postgres::schema(connection).await?;
                Self::read_schema(connection, &schema).await
            }
            _ => sqlite::read(connection).await,
        }
    }

    /// Reads a schema of a PostgreSQL database by its name, and makes it the only one on the
    /// transaction's `search_path`, so that names in expressions come without their schema.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn read_schema<C: ConnectionTrait>(
        connection: &C,
        schema: &str,
    ) -> Result<Self, DbErr> {
        postgres::read(connection, schema).await
    }
}

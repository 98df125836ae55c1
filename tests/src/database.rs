//! The database of one test on either engine, and access to its rows past the service.

use std::path::{Path, PathBuf};

use sqlx::{
    Connection, Decode, Row as _, Sqlite, SqliteConnection, TypeInfo, ValueRef,
    postgres::PgRow,
    sqlite::{SqliteConnectOptions, SqliteRow, SqliteValueRef},
};

use crate::{
    Engine,
    guard::Run,
    postgres::{Origin, Postgres, PostgresDatabase},
};

/// A row as texts, the same on both engines but for truth values (`t` and `1`). An id has the form
/// of a UUID, other bytes are `\x` and hex digits, NULL is `None`.
pub type Row = Vec<Option<String>>;

/// A database of one test. It is removed when the last handle is dropped.
#[derive(Debug)]
pub enum Database {
    /// A SQLite file.
    Sqlite(SqliteDatabase),
    /// A database of the run's PostgreSQL cluster.
    Postgres(PostgresDatabase),
}

impl Database {
    /// Creates a database. On SQLite it is always empty and the program migrates it. On PostgreSQL
    /// it is migrated or empty, as `origin` says.
    ///
    /// # Panics
    /// If it can't be created.
    pub async fn create(engine: Engine, origin: Origin) -> Self {
        match engine {
            Engine::Sqlite => {
                let run = tokio::task::spawn_blocking(Run::shared).await;
                let run = run.expect("no panic in the guard's start");
                let folder = tempfile::Builder::new().prefix("sqlite-").tempdir_in(&run.directory);
                Self::Sqlite(SqliteDatabase { folder: folder.expect("a folder for SQLite") })
            }
            Engine::Postgres => Self::Postgres(Postgres::shared().await.database(origin).await),
        }
    }

    /// The engine that holds it.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// The URL for the service: on PostgreSQL as `bookstore_app`.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(database) => database.url(),
            Self::Postgres(database) => database.url("bookstore_app"),
        }
    }

    /// The URL for migrations: on PostgreSQL as `bookstore_owner`.
    pub fn owner_url(&self) -> String {
        match self {
            Self::Sqlite(database) => database.url(),
            Self::Postgres(database) => database.url("bookstore_owner"),
        }
    }

    /// Runs SQL directly on the database, as the superuser on PostgreSQL. Returns the rows of all
    /// its statements.
    ///
    /// # Panics
    /// If the database refuses it.
    pub async fn sql(&self, text: &str) -> Vec<Row> {
        let rows = self.try_sql(text).await;
        rows.unwrap_or_else(|error| panic!("the database refuses the SQL: {error}"))
    }

    /// The same for SQL that the database may refuse.
    ///
    /// # Errors
    /// The database's error.
    ///
    /// # Panics
    /// If the database can't be reached.
    pub async fn try_sql(&self, text: &str) -> Result<Vec<Row>, String> {
        let text = sqlx::AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(database) => {
                let mut connection = database.connect().await;
                let rows = sqlx::raw_sql(text).fetch_all(&mut connection).await;
                let rows = rows.map_err(|error| error.to_string())?;
                Ok(rows.iter().map(sqlite_row).collect())
            }
            Self::Postgres(database) => {
                let mut connection = database.connect().await;
                let rows = sqlx::raw_sql(text).fetch_all(&mut connection).await;
                let rows = rows.map_err(|error| error.to_string())?;
                // Without parameters the server returns every value as text.
                let row = |row: &PgRow| {
                    let cell = |at| {
                        let value = row.try_get_raw(at).expect("a column of the row");
                        let text = || value.as_str().expect("a value as text").to_owned();
                        if value.is_null() { None } else { Some(text()) }
                    };
                    (0..row.columns().len()).map(cell).collect()
                };
                Ok(rows.iter().map(row).collect())
            }
        }
    }

    /// The single value that SQL returns; see [`Database::sql`].
    ///
    /// # Panics
    /// If it returns anything but one row of one value, or NULL.
    pub async fn value(&self, text: &str) -> String {
        let rows = self.sql(text).await;
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().expect("a value that isn't NULL"),
            _ => panic!("not one value: {rows:?}"),
        }
    }

    /// Ends every session of the service in a PostgreSQL database, and returns how many there were.
    ///
    /// # Panics
    /// If this is a SQLite file.
    pub async fn end_sessions(&self) -> usize {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE usename = 'bookstore_app' AND datname = current_database()";
        self.sql(end).await.len()
    }
}

/// A SQLite file in its own folder.
#[derive(Debug)]
pub struct SqliteDatabase {
    folder: tempfile::TempDir,
}

impl SqliteDatabase {
    /// The file. It exists once the program has opened it.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("bookstore.db")
    }

    /// The folder, which also holds SQLite's other files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn url(&self) -> String {
        format!("sqlite://{}?mode=rwc", self.path().display())
    }

    /// A separate connection for the test. It waits 5 s for locks.
    ///
    /// # Panics
    /// If the file doesn't exist yet.
    pub async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path()).foreign_keys(true);
        SqliteConnection::connect_with(&options).await.expect("a connection to the SQLite file")
    }
}

fn sqlite_row(row: &SqliteRow) -> Row {
    let cell = |at| sqlite_text(row.try_get_raw(at).expect("a column of the row"));
    (0..row.columns().len()).map(cell).collect()
}

fn sqlite_text(value: SqliteValueRef<'_>) -> Option<String> {
    fn decode<'r, T: Decode<'r, Sqlite>>(value: SqliteValueRef<'r>) -> T {
        T::decode(value).expect("the value in its own type")
    }
    if value.is_null() {
        return None;
    }
    let kind = value.type_info().name().to_owned();
    Some(match kind.as_str() {
        "INTEGER" | "BOOLEAN" => decode::<i64>(value).to_string(),
        "REAL" => decode::<f64>(value).to_string(),
        "BLOB" => bytes(decode::<&[u8]>(value)),
        _ => decode::<String>(value),
    })
}

/// Bytes as PostgreSQL prints them: 16 of them as a UUID.
fn bytes(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() != 16 {
        return format!("\\x{hex}");
    }
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_bytes_are_printed_as_postgres_prints_them() {
        assert_eq!(bytes(&[0xab, 1]), "\\xab01");
        let id: Vec<u8> = (0..16).collect();
        assert_eq!(bytes(&id), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}

//! Backup and restore of SQLite: a copy by `VACUUM INTO`, which reads one snapshot while others write
//! (SQLite, "VACUUM", with an INTO clause).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bookstore_store::PlainConnection;
use futures_util::TryStreamExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, Sqlite, SqliteConnection, TypeInfo as _,
    ValueRef as _, sqlite::SqliteRow,
};

use super::{
    file::{BackupFile, BackupWriter, ContentSum},
    manifest::{Manifest, TableSum, compare},
    path_error::{Target, folder_of},
    progress::Rate,
    sqlite_file::{check_readable, keep_owner, resolve, to_be_replaced, unopened},
    stream::{pack, unpack},
    workspace::Workspace,
};
use crate::{
    app,
    command::failure::Failure,
    config::{Database, DatabaseUrl},
};

/// How often the growth of a copy is shown.
const SHOW: Duration = Duration::from_millis(500);

/// The name of the copy in the workspace.
const COPY: &str = "copy.db";

/// Copies the database into the workspace and reads what the manifest says of it.
///
/// # Errors
/// If the database is missing, damaged or without a revision, or the copy has no room.
pub(super) async fn snapshot(
    database: &Database,
    workspace: &Workspace,
    is_encrypted: bool,
    created_at: i64,
    rate: &mut Rate,
) -> Result<Manifest, Failure> {
    let file = file_of(database)?;
    check_readable(&file)?;
    let copy = workspace.path(COPY);
    let mut session = open(database).await.map_err(|error| unopened(&file, error.as_ref()))?;
    let into = copy.to_string_lossy().replace('\'', "''");
    let vacuum = format!("VACUUM INTO '{into}'");
    {
        let copying = execute(&mut session, &vacuum);
        tokio::pin!(copying);
        loop {
            tokio::select! {
                copied = &mut copying => {
                    copied.map_err(|error| copy_failed(&file, &copy, &error))?;
                    break;
                }
                () = tokio::time::sleep(SHOW) => {
                    rate.set(fs::metadata(&copy).map_or(0, |copy| copy.len()));
                }
            }
        }
    }
    session.close().await?;
    rate.set(fs::metadata(&copy).map_or(0, |copy| copy.len()));
    // A copy alone is read from here on, so the service is not slowed down by it.
    let mut session = open(&at(database, &copy)?).await?;
    check(&mut session, &file).await?;
    let revisions = revisions(&mut session).await?;
    if revisions.is_empty() {
        let file = file.display();
        return Err(format!("{file} has no revision: there is nothing to back up").into());
    }
    let manifest = Manifest {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at,
        engine: "sqlite".to_owned(),
        engine_version: texts(&mut session, "SELECT sqlite_version()").await?.join(""),
        tools: 0,
        database: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        position: String::new(),
        revisions,
        is_encrypted,
        tables: table_sums(&mut session).await?,
    };
    session.close().await?;
    Ok(manifest)
}

/// Writes the content of the backup.
///
/// # Errors
/// If the file can't be written.
pub(super) async fn write(
    workspace: &Workspace,
    writer: &mut BackupWriter,
    encrypt: Option<&str>,
    rate: &mut Rate,
) -> Result<ContentSum, Failure> {
    let copy = tokio::fs::File::open(workspace.path(COPY)).await?;
    let sum = pack(copy, writer, encrypt, rate).await?;
    fs::remove_file(workspace.path(COPY))?;
    Ok(sum)
}

/// Restores beside the configured file, checks the result, and renames it.
///
/// # Errors
/// If the file has tables, is in use, or the backup can't be restored. It is then as before.
pub(super) async fn restore(
    database: &Database,
    backup: &BackupFile,
    decrypt: Option<&str>,
    force: bool,
    rate: &mut Rate,
) -> Result<(), Failure> {
    // A link stays, and the file that it names is replaced.
    let file = resolve(&file_of(database)?)?;
    let replaced = admit(database, &file, force).await?;
    let workspace = Workspace::create(folder_of(&file), Target::Database)?;
    unpack_and_check(database, backup, decrypt, &workspace, rate).await?;
    // Again, since the service may have been started meanwhile.
    admit(database, &file, force).await?;
    if let Some(replaced) = replaced {
        let copy = workspace.path(COPY);
        keep_owner(&copy, &replaced).map_err(|error| workspace.unwritable(&copy, &error))?;
    }
    workspace.publish(COPY, &file)
}

/// Restores into the workspace alone, and compares counts and checksums.
///
/// # Errors
/// If the backup does not restore.
pub(super) async fn unpack_and_check(
    database: &Database,
    backup: &BackupFile,
    decrypt: Option<&str>,
    workspace: &Workspace,
    rate: &mut Rate,
) -> Result<(), Failure> {
    let path = workspace.path(COPY);
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut copy =
        options.open(&path).await.map_err(|error| workspace.unwritable(&path, &error))?;
    unpack(backup, decrypt, &mut copy, rate).await.map_err(|error| {
        match error.downcast::<std::io::Error>() {
            Ok(error) => workspace.unwritable(&path, &error),
            Err(error) => error,
        }
    })?;
    let mut session = open(&at(database, &path)?).await?;
    check(&mut session, &backup.path).await?;
    compare(&backup.manifest.tables, &table_sums(&mut session).await?)?;
    session.close().await?;
    fs::File::open(&path)?.sync_all().map_err(|error| workspace.unwritable(&path, &error))
}

/// Refuses to replace a file that has tables, unless forced, or that another process has open.
async fn admit(
    database: &Database,
    file: &Path,
    force: bool,
) -> Result<Option<fs::Metadata>, Failure> {
    let shown = file.display();
    let Some(replaced) = to_be_replaced(file)? else { return Ok(None) };
    let unusable = |error: &dyn std::fmt::Display| -> Failure {
        format!(
            "{shown}: it can't be read as a database ({error}): move it, {shown}-wal and \
             {shown}-shm away, then restore again"
        )
        .into()
    };
    let mut session = open(database).await.map_err(|error| unopened(file, error.as_ref()))?;
    let tables = texts(&mut session, "SELECT name FROM sqlite_schema WHERE type = 'table'").await;
    let tables = tables.map_err(|error| unusable(&error))?;
    if !tables.is_empty() && !force {
        return Err(format!(
            "{shown} is not empty ({} tables): name another file in DATABASE_URL, or replace it \
             with --force",
            tables.len()
        )
        .into());
    }
    // Leaving the write-ahead log needs the file alone. It also moves the log's content into the
    // file, so that no log of the old file is left for the new one.
    let alone = execute(&mut session, "PRAGMA journal_mode = DELETE").await;
    session.close().await?;
    match alone {
        Ok(()) => Ok(Some(replaced)),
        Err(error) if is_locked(&error) => Err(format!(
            "{shown} is in use by another process: stop the service, then restore again"
        )
        .into()),
        Err(error) => Err(unusable(&error)),
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("locked"))
}

fn copy_failed(file: &Path, copy: &Path, error: &sqlx::Error) -> Failure {
    let said = error.to_string();
    if said.contains("full") || said.contains("disk I/O error") {
        let folder = copy.parent().map_or(copy, folder_of).display();
        return format!(
            "{folder}: no room for a copy of {} ({said}): free some or name another place with \
             --to; nothing was left there",
            file.display()
        )
        .into();
    }
    format!("{}: {said}", file.display()).into()
}

fn file_of(database: &Database) -> Result<PathBuf, Failure> {
    let file = app::open_store(database)?.sqlite_file();
    Ok(file.ok_or("the database is no SQLite file")?)
}

/// The same settings with another file.
fn at(database: &Database, file: &Path) -> Result<Database, Failure> {
    let path = file.to_str().ok_or("the path of the file is no UTF-8 text")?;
    let path: Vec<String> = path
        .split('/')
        .map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string())
        .collect();
    let url = DatabaseUrl::parse(&format!("sqlite:{}", path.join("/")))?;
    Ok(Database { url, replica_urls: Vec::new(), ..database.clone() })
}

async fn open(database: &Database) -> Result<SqliteConnection, Failure> {
    match app::open_store(database)?.open_for_inspection().await? {
        PlainConnection::Sqlite(session) => Ok(*session),
        PlainConnection::Postgres(_) => Err("the database is not of SQLite".into()),
    }
}

async fn execute(session: &mut SqliteConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).await.map(|_| ())
}

/// The first column of the rows.
async fn texts(session: &mut SqliteConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(session).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn revisions(session: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let there = "SELECT name FROM sqlite_schema WHERE name = 'seaql_migrations'";
    if texts(session, there).await?.is_empty() {
        return Ok(Vec::new());
    }
    texts(session, "SELECT version FROM seaql_migrations ORDER BY version").await
}

/// Refuses a database that SQLite finds damaged.
async fn check(session: &mut SqliteConnection, file: &Path) -> Result<(), Failure> {
    let damaged = |what: &str| -> Failure {
        format!("{}: the database is damaged: {what}", file.display()).into()
    };
    let found = texts(session, "PRAGMA integrity_check").await;
    let found = found.map_err(|error| damaged(&error.to_string()))?;
    if found != ["ok"] {
        return Err(damaged(&found.join("; ")));
    }
    let orphans = texts(session, "PRAGMA foreign_key_check").await?;
    match orphans.first() {
        None => Ok(()),
        Some(table) => Err(damaged(&format!("a row of {table} refers to none"))),
    }
}

/// The row count and the checksum of each table: the sum of the first 8 bytes of each row's SHA-256.
async fn table_sums(session: &mut SqliteConnection) -> Result<Vec<TableSum>, Failure> {
    // The content of a virtual table is in tables of its own.
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' \
                 ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name";
    let mut sums = Vec::new();
    for name in texts(session, names).await? {
        let sql = format!("SELECT * FROM \"{}\"", name.replace('"', "\"\""));
        let (mut rows, mut sum) = (0, 0_u128);
        let mut found = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut *session);
        while let Some(row) = found.try_next().await? {
            rows += 1;
            sum += u128::from(row_hash(&row)?);
        }
        sums.push(TableSum { name, rows, checksum: sum.to_string() });
    }
    Ok(sums)
}

fn row_hash(row: &SqliteRow) -> Result<u64, Failure> {
    let mut hash = Sha256::new();
    for at in 0..row.len() {
        let value = row.try_get_raw(at)?;
        hash.update(value.type_info().name());
        if value.is_null() {
            continue;
        }
        let bytes = <&[u8] as sqlx::Decode<Sqlite>>::decode(value)?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let hash = hash.finalize();
    let first = hash.first_chunk::<8>().ok_or("a hash of no bytes")?;
    Ok(u64::from_be_bytes(*first))
}

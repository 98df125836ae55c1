//! Backup and restore of PostgreSQL: an archive of `pg_dump` in its custom format, taken in the same
//! snapshot as the row counts and the checksums (PostgreSQL, 26.1. SQL Dump; 9.28.5. Snapshot
//! Synchronization Functions).

use std::{process::Stdio, time::Duration};

use super::{
    file::{BackupFile, BackupWriter, ContentSum},
    manifest::{Manifest, TableSum, compare},
    progress::Rate,
    psql::{ClientPrograms, PsqlSession},
    stream::{pack, unpack},
};
use crate::{command::failure::Failure, config::Database};

/// The names of the scratch databases of `--verify` begin so.
const SCRATCH: &str = "bookstore_verify_";

/// The time that the server gets to end the session of a program that was ended.
const SESSION_END: Duration = Duration::from_millis(500);

/// Settings under which a row has one text.
const ONE_TEXT: &str = "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; \
                        SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; \
                        SET LOCAL bytea_output = 'hex'; SET LOCAL statement_timeout = 0; \
                        SET LOCAL idle_in_transaction_session_timeout = 0";

/// Selects what is the database's own: not the system's, and not an extension's.
const OWN: &str = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND NOT EXISTS \
                   (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')";

/// A database that is being backed up: the session that holds the snapshot.
pub(super) struct PostgresSnapshot {
    programs: ClientPrograms,
    session: PsqlSession,
    snapshot: String,
}

/// Opens the snapshot and reads what the manifest says of it.
///
/// # Errors
/// If the programs are missing or older than the server, or the database can't be read.
pub(super) async fn snapshot(
    database: &Database,
    is_encrypted: bool,
    created_at: i64,
) -> Result<(PostgresSnapshot, Manifest), Failure> {
    let programs = ClientPrograms::find(database)?;
    let mut session = programs.session().await?;
    let (engine_version, server) = server_version(&mut session).await?;
    if programs.major() < server {
        return Err(format!(
            "pg_dump is of version {} and the server of version {server}: a backup needs client \
             programs of version {server} or newer; install them, or name their folder in \
             BOOKSTORE_POSTGRES_BIN",
            programs.major()
        )
        .into());
    }
    // The write-ahead log's position is read before the snapshot: the snapshot has all commits that
    // lie before it.
    let position = session
        .value(
            "SELECT timeline_id || '/' || CASE WHEN pg_is_in_recovery() \
             THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END \
             FROM pg_control_checkpoint()",
        )
        .await?;
    session.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    session.rows(ONE_TEXT).await?;
    let snapshot = session.value("SELECT pg_export_snapshot()").await?;
    let name = session.value("SELECT current_database()").await?;
    let revisions = match session.value("SELECT to_regclass('public.seaql_migrations')").await? {
        none if none.is_empty() => Vec::new(),
        _ => session.rows("SELECT version FROM public.seaql_migrations ORDER BY 1").await?,
    };
    if revisions.is_empty() {
        return Err(
            format!("the database {name} has no revision: there is nothing to back up").into()
        );
    }
    let manifest = Manifest {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at,
        engine: "postgres".to_owned(),
        engine_version,
        tools: programs.major(),
        database: name,
        position,
        revisions,
        is_encrypted,
        tables: table_sums(&mut session).await?,
    };
    Ok((PostgresSnapshot { programs, session, snapshot }, manifest))
}

impl PostgresSnapshot {
    /// Writes the content of the backup.
    ///
    /// # Errors
    /// If `pg_dump` fails or the file can't be written.
    pub(super) async fn write(
        self,
        writer: &mut BackupWriter,
        encrypt: Option<&str>,
        rate: &mut Rate,
    ) -> Result<ContentSum, Failure> {
        let snapshot = format!("--snapshot={}", self.snapshot);
        // zstd compresses the whole content better and faster than pg_dump each part by itself.
        let arguments = ["--format=custom", "--compress=0", "--no-password", &snapshot];
        let mut dump = self.programs.start("pg_dump", &arguments, Stdio::null())?;
        let packed = pack(dump.output()?, writer, encrypt, rate).await;
        // A dump that failed is the reason for a short output; a full disk for a dump that failed.
        let sum = packed?;
        dump.finish().await?;
        drop(self.session);
        Ok(sum)
    }
}

/// The version of the server: its text and its major number.
async fn server_version(session: &mut PsqlSession) -> Result<(String, u32), Failure> {
    let text = session.value("SHOW server_version").await?;
    let number: u32 = session.value("SHOW server_version_num").await?.parse()?;
    Ok((text.split(' ').next().unwrap_or_default().to_owned(), number / 10_000))
}

/// The row count and the checksum of each table: the sum of the first 8 bytes of each row's SHA-256.
async fn table_sums(session: &mut PsqlSession) -> Result<Vec<TableSum>, Failure> {
    let names = format!(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND {OWN} ORDER BY 1"
    );
    let mut sums = Vec::new();
    for name in session.rows(&names).await? {
        let sql = format!(
            "SELECT count(*), coalesce(sum(('x' || encode(substr(sha256(convert_to(t::text, \
             'UTF8')), 1, 8), 'hex'))::bit(64)::bigint::numeric), 0) FROM {name} AS t"
        );
        let row = session.value(&sql).await?;
        let (rows, checksum) = row.split_once('|').ok_or("psql printed no checksum")?;
        sums.push(TableSum { name, rows: rows.parse()?, checksum: checksum.to_owned() });
    }
    Ok(sums)
}

/// How a backup is restored.
#[derive(Clone, Copy)]
pub(super) struct PostgresRestore<'a> {
    /// `--decrypt-command`.
    pub(super) decrypt: Option<&'a str>,
    /// Whether what the database has is dropped in the same transaction.
    pub(super) force: bool,
    /// Whether the privileges of roles are restored.
    pub(super) privileges: bool,
}

/// Restores into the configured database, in one transaction.
///
/// # Errors
/// If the database is not empty, or the backup can't be restored into it. It is then as before.
pub(super) async fn restore(
    database: &Database,
    backup: &BackupFile,
    how: PostgresRestore<'_>,
    rate: &mut Rate,
) -> Result<(), Failure> {
    let programs = ClientPrograms::find(database)?;
    restore_with(&programs, backup, how, rate).await
}

async fn restore_with(
    programs: &ClientPrograms,
    backup: &BackupFile,
    how: PostgresRestore<'_>,
    rate: &mut Rate,
) -> Result<(), Failure> {
    let wanted = backup.manifest.tools;
    if programs.major() < wanted {
        return Err(format!(
            "{}: pg_dump {wanted} wrote it and pg_restore is of version {}: install client programs \
             of version {wanted} or newer",
            backup.path.display(),
            programs.major()
        )
        .into());
    }
    let mut session = programs.session().await?;
    let (_, server) = server_version(&mut session).await?;
    session.rows("BEGIN").await?;
    session.rows("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'").await?;
    clear(&mut session, how.force).await?;
    let mut arguments = vec!["--file=-", "--format=custom", "--no-owner"];
    if !how.privileges {
        arguments.push("--no-privileges");
    }
    let mut script = programs.start("pg_restore", &arguments, Stdio::piped())?;
    let (mut input, output) = (script.input()?, script.output()?);
    let unpacked = async {
        let unpacked = unpack(backup, how.decrypt, &mut input, rate).await;
        drop(input);
        unpacked
    };
    let (unpacked, ran) =
        tokio::join!(unpacked, session.script(output, |head| older(head, server)));
    // A server that refuses the script is the reason for a broken pipe before it.
    ran?;
    let read = script.finish().await;
    unpacked?;
    read?;
    session.rows(ONE_TEXT).await?;
    compare(&backup.manifest.tables, &table_sums(&mut session).await?)?;
    // Only now, since the script could have been cut off at any place.
    session.rows("COMMIT").await?;
    Ok(())
}

/// Refuses a database that has something, or drops that.
async fn clear(session: &mut PsqlSession, force: bool) -> Result<(), Failure> {
    let objects = format!(
        "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {OWN} ORDER BY 1"
    );
    let found = session.rows(&objects).await?;
    if found.is_empty() {
        return Ok(());
    }
    if !force {
        let name = session.value("SELECT current_database()").await?;
        return Err(format!(
            "the database {name} is not empty ({} and {} more): restore into an empty one \
             (createdb), or replace what it has with --force",
            found.first().map_or("", String::as_str),
            found.len() - 1
        )
        .into());
    }
    let drop = format!(
        "DO $drop$ DECLARE one record; BEGIN \
         FOR one IN SELECT c.oid::regclass AS name, c.relkind AS kind FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {OWN} LOOP \
         IF to_regclass(one.name::text) IS NOT NULL THEN EXECUTE format('DROP %s IF EXISTS %s CASCADE', \
         CASE one.kind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' \
         WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, one.name); END IF; \
         END LOOP; \
         FOR one IN SELECT c.oid::regprocedure AS name FROM pg_proc c \
         JOIN pg_namespace n ON n.oid = c.pronamespace WHERE {OWN} LOOP \
         EXECUTE format('DROP ROUTINE %s CASCADE', one.name); END LOOP; \
         FOR one IN SELECT c.oid::regtype AS name FROM pg_type c \
         JOIN pg_namespace n ON n.oid = c.typnamespace \
         WHERE c.typtype IN ('e', 'd') AND {OWN} LOOP \
         EXECUTE format('DROP TYPE %s CASCADE', one.name); END LOOP; \
         FOR one IN SELECT c.oid::regcollation AS name FROM pg_collation c \
         JOIN pg_namespace n ON n.oid = c.collnamespace WHERE {OWN} LOOP \
         EXECUTE format('DROP COLLATION %s CASCADE', one.name); END LOOP; \
         FOR one IN SELECT quote_ident(n.nspname) || '.' || quote_ident(c.cfgname) AS name \
         FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace WHERE {OWN} LOOP \
         EXECUTE format('DROP TEXT SEARCH CONFIGURATION %s CASCADE', one.name); END LOOP; \
         END $drop$"
    );
    // The drops of cascades are no news.
    session.rows(&format!("SET LOCAL client_min_messages = warning; {drop}")).await?;
    Ok(())
}

/// Leaves out a setting that servers before version 17 do not know (PostgreSQL, 20.11).
fn older(head: Vec<u8>, server: u32) -> Vec<u8> {
    const LINE: &str = "SET transaction_timeout = 0;\n";
    match String::from_utf8(head) {
        Ok(text) if server < 17 => text.replacen(LINE, "", 1).into_bytes(),
        Ok(text) => text.into_bytes(),
        // The text is cut inside a character; the setting stands before it.
        Err(error) => {
            let mut bytes = error.into_bytes();
            let at = bytes.windows(LINE.len()).position(|part| part == LINE.as_bytes());
            if let Some(at) = at.filter(|_| server < 17) {
                bytes.drain(at..at + LINE.len());
            }
            bytes
        }
    }
}

/// Drops the scratch databases of processes that were ended: no session is in them.
async fn drop_left_scratch(session: &mut PsqlSession) -> Result<(), Failure> {
    let left = format!(
        "SELECT quote_ident(datname) FROM pg_database d WHERE datname ~ '^{SCRATCH}[0-9a-f]+$' \
         AND pg_catalog.pg_has_role(datdba, 'MEMBER') AND NOT EXISTS \
         (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)"
    );
    for name in session.rows(&left).await? {
        session.rows(&format!("DROP DATABASE IF EXISTS {name}")).await?;
    }
    Ok(())
}

/// Drops the scratch database of a `--verify` that was interrupted. The server needs a moment to end
/// its session; what is left then, the next `--verify` drops.
pub(super) async fn drop_scratch(database: &Database) -> Result<(), Failure> {
    let mut session = ClientPrograms::find(database)?.session().await?;
    tokio::time::sleep(SESSION_END).await;
    drop_left_scratch(&mut session).await
}

/// Restores into a scratch database on the same server, compares counts and checksums, and drops it.
///
/// # Errors
/// If the role may not create one, or the backup does not restore.
pub(super) async fn verify(
    database: &Database,
    backup: &BackupFile,
    decrypt: Option<&str>,
    rate: &mut Rate,
) -> Result<(), Failure> {
    let programs = ClientPrograms::find(database)?;
    let mut session = programs.session().await?;
    drop_left_scratch(&mut session).await?;
    let name = format!("{SCRATCH}{}", uuid::Uuid::new_v4().simple());
    session.rows(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")).await?;
    let scratch = programs.with_database(&name);
    let how = PostgresRestore { decrypt, force: false, privileges: false };
    let restored = restore_with(&scratch, backup, how, rate).await;
    let dropped = session.rows(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    restored?;
    dropped?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_of_newer_servers_is_left_out_for_older_ones() {
        let head = b"SET lock_timeout = 0;\nSET transaction_timeout = 0;\nSET x = 1;\n".to_vec();
        let without = b"SET lock_timeout = 0;\nSET x = 1;\n".to_vec();
        assert_eq!(older(head.clone(), 16), without);
        assert_eq!(older(head.clone(), 17), head);
        let cut = [&head[..], &[0xc3]].concat();
        assert_eq!(older(cut, 16), [&without[..], &[0xc3]].concat());
    }
}

//! Files and databases that a backup or a restore refuses, each with its sentence.

use std::fs;

use bookstore_tests::{Database, Engine, Origin, REVISIONS, on_every_engine, run};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{add, backup, categories, empty, filled, names, ok, refused, text};

on_every_engine!(
    wrong_file_is_refused,
    changed_file_is_refused,
    backup_of_a_newer_program_is_refused,
    rows_that_differ_from_the_manifest_are_refused,
    database_without_a_revision_has_no_backup,
    backup_is_not_overwritten,
);

async fn wrong_file_is_refused(engine: Engine) {
    let (database, folder) = (empty(engine).await, tempfile::tempdir().expect("a folder"));
    let file = text(&folder.path().join("it"));
    refused(&database, &["restore", &file], &[&file, "No such file"]).await;
    refused(&database, &["restore", &text(folder.path())], &["it is no file"]).await;
    for (content, says) in [
        (&b"PGDMP\x01\x0e\x00 and more of it"[..], "use pg_restore"),
        (b"SQLite format 3\0 and more of it", "it is a SQLite database"),
        (b"bookstore backup 9\n{}\n and more", "a format that this program does not know"),
        (b"id,title\n1,A book of some length\n", "it is no backup of this program"),
        (b"", "it is no backup of this program"),
        (b"bookstore backup 1\n{", "its manifest has no end"),
        (b"bookstore backup 1\n{\"format\":7,\"program\":\"9.9.9\"}\n", "the format 7"),
    ] {
        fs::write(&file, content).expect("a file");
        refused(&database, &["restore", &file], &[&file, says]).await;
    }
}

async fn changed_file_is_refused(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = backup(&database, &folder, &[]).await;
    let whole = fs::read(&file).expect("the backup");
    let restored = empty(engine).await;
    fs::write(&file, &whole[..whole.len() - 1000]).expect("a shorter file");
    refused(&restored, &["restore", &text(&file)], &["it is incomplete"]).await;
    let listed = super::on(&database, &["backup", "list", &text(folder.path())]).await;
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert!(listed.errors.contains("it is incomplete"), "{listed:?}");
    let mut changed = whole.clone();
    let middle = whole.len() - 1000;
    changed[middle] ^= 1;
    fs::write(&file, &changed).expect("a changed file");
    refused(&restored, &["restore", &text(&file)], &["it is damaged", "SHA-256"]).await;
    let check = ["backup", "list", &text(folder.path()), "--check"];
    refused(&database, &check, &["it is damaged"]).await;
    fs::write(&file, &whole).expect("the backup");
    ok(&restored, &["restore", &text(&file)]).await;
}

async fn backup_of_a_newer_program_is_refused(engine: Engine) {
    const NEWER: &str = "m29990101_000001_newer";
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let step = |sql: &str| json!([{"postgres": sql, "sqlite": sql}]);
    let (up, down) = (step("CREATE TABLE newer (id int)"), step("DROP TABLE newer"));
    let step = json!({"revisions": [{"name": NEWER, "up": up, "down": down}]});
    let revisions = text(&folder.path().join("revisions.json"));
    fs::write(&revisions, step.to_string()).expect("a file");
    let url = database.owner_url();
    let newer = [("DATABASE_URL", url.as_str()), (REVISIONS, &revisions)];
    let done = run(&["migrate", "up"], &newer).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let file = text(&backup(&database, &folder, &[]).await);
    let restored = empty(engine).await;
    refused(&restored, &["restore", &file], &[NEWER, "restore it with the program that made it"])
        .await;
    let url = restored.owner_url();
    let newer = [("DATABASE_URL", url.as_str()), (REVISIONS, &revisions)];
    let done = run(&["restore", &file], &newer).await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// Without the comparison a database with fewer rows than the backup would be served.
async fn rows_that_differ_from_the_manifest_are_refused(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = backup(&database, &folder, &[]).await;
    let mut bytes = fs::read(&file).expect("the backup");
    let (before, after) = (b"\"rows\":305", b"\"rows\":306");
    let at = bytes.windows(before.len()).position(|part| part == before).expect("the count");
    bytes[at..at + after.len()].copy_from_slice(after);
    // Its own hash is right, as of a backup whose maker went wrong.
    let end = bytes.len() - 73;
    let hash = digest(&SHA256, &bytes[..end]);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.truncate(end);
    bytes.extend(format!("\nsha256 {hash}\n").bytes());
    fs::write(&file, &bytes).expect("a changed file");
    let restored = empty(engine).await;
    let says = ["categories has 305 rows and the backup 306"];
    refused(&restored, &["restore", &text(&file)], &says).await;
    match &restored {
        Database::Postgres(_) => {
            let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
            assert_eq!(restored.value(tables).await, "0");
        }
        Database::Sqlite(sqlite) => assert!(names(sqlite.folder()).is_empty()),
    }
}

async fn database_without_a_revision_has_no_backup(engine: Engine) {
    let (database, folder) = (empty(engine).await, tempfile::tempdir().expect("a folder"));
    let says = match &database {
        Database::Postgres(_) => "has no revision: there is nothing to back up",
        Database::Sqlite(_) => "there is no such database",
    };
    refused(&database, &["backup", "--to", &text(folder.path())], &[says]).await;
    assert!(names(folder.path()).is_empty());
}

async fn backup_is_not_overwritten(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = backup(&database, &folder, &[]).await;
    let content = fs::read(&file).expect("the backup");
    refused(&database, &["backup", "--to", &text(&file)], &["it exists: name a new file"]).await;
    assert_eq!(fs::read(&file).expect("the backup"), content);
    let nowhere = text(&folder.path().join("missing/it.backup"));
    refused(&database, &["backup", "--to", &nowhere], &["missing", "No such file"]).await;
    let failing = ["backup", "--to", &text(folder.path()), "--encrypt-command", "exit 9"];
    refused(&database, &failing, &["--encrypt-command failed (exit code 9)"]).await;
    assert_eq!(names(folder.path()).len(), 1);
}

#[tokio::test]
async fn backup_of_the_other_engine_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Sqlite).await;
    let file = text(&backup(&database, &folder, &[]).await);
    let other = Database::create(Engine::Postgres, Origin::Empty).await;
    let says = ["it is a backup of sqlite and DATABASE_URL names postgres"];
    refused(&other, &["restore", &file], &says).await;
}

/// Without that check the service would go on with the log of the old file.
#[tokio::test]
async fn sqlite_file_in_use_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Sqlite).await;
    let file = text(&backup(&database, &folder, &[]).await);
    let Database::Sqlite(sqlite) = &database else { panic!("a SQLite file") };
    let mut service = sqlite.connect().await;
    sqlx::query("SELECT count(*) FROM items").execute(&mut service).await.expect("an answer");
    let forced = ["restore", &file, "--force"];
    refused(&database, &forced, &["is in use by another process: stop the service"]).await;
    add(&database, 1000).await;
    assert_eq!(categories(&database).await.len(), 306);
    sqlx::Connection::close(service).await.expect("its end");
    ok(&database, &forced).await;
    assert_eq!(categories(&database).await.len(), 305);
}

#[tokio::test]
async fn missing_client_programs_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Postgres).await;
    let (url, programs) = (database.owner_url(), text(folder.path()));
    let environment = [("DATABASE_URL", url.as_str()), ("BOOKSTORE_POSTGRES_BIN", &programs)];
    let done = run(&["backup", "--to", &format!("{programs}/it")], &environment).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.errors.contains("pg_dump, pg_restore, psql of PostgreSQL"), "{done:?}");
}

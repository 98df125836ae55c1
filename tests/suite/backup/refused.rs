//! Files and databases that a backup or a restore refuses, each with its sentence.

use std::{fs, path::Path};

use bookstore_tests::{Database, Engine, Origin, on_every_engine};

use super::{backup, change_manifest, empty, filled, is_empty, manifest, names, ok, refused, text};

on_every_engine!(
    changed_file_is_refused,
    rows_that_differ_from_the_manifest_are_refused,
    values_that_differ_from_the_manifest_are_refused,
    database_without_a_revision_has_no_backup,
    backup_is_not_overwritten,
);

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

/// Without the comparison a database with fewer rows than the backup would be served.
async fn rows_that_differ_from_the_manifest_are_refused(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = backup(&database, &folder, &[]).await;
    change_manifest(&file, "\"rows\":305", "\"rows\":306");
    let restored = empty(engine).await;
    let says = ["categories has 305 rows and the backup 306"];
    refused(&restored, &["restore", &text(&file)], &says).await;
    is_empty(&restored).await;
}

/// Without the checksum a row with another value would not be found.
async fn values_that_differ_from_the_manifest_are_refused(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let before = backup(&database, &folder, &[]).await;
    database.sql("UPDATE categories SET name = 'Another' WHERE name = 'Category 1 é'").await;
    let after = backup(&database, &folder, &[]).await;
    let [before, now] = [before, after.clone()].map(|file| checksum(&file));
    assert_ne!(before, now);
    change_manifest(&after, &now, &before);
    let restored = empty(engine).await;
    let says = ["categories has 305 rows as the backup, and other values"];
    refused(&restored, &["restore", &text(&after)], &says).await;
    is_empty(&restored).await;
}

/// The checksum of the categories in a backup's manifest.
fn checksum(file: &Path) -> String {
    let tables = manifest(file)["tables"].take();
    let is_wanted = |table: &&serde_json::Value| {
        table["name"].as_str().is_some_and(|name| name.ends_with("categories"))
    };
    let table = tables.as_array().and_then(|tables| tables.iter().find(is_wanted));
    table.and_then(|table| table["checksum"].as_str()).expect("a checksum").to_owned()
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

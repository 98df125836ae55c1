//! Backups of other releases of the program: those of newer ones are refused before anything is
//! written, and those of older ones are restored.

use std::fs;

use bookstore_tests::{Engine, REVISIONS, on_every_engine, run};
use serde_json::json;

use super::{backup, change_manifest, empty, filled, is_empty, is_same, ok, refused, text};

on_every_engine!(
    revision_of_a_newer_program_is_refused,
    backup_of_a_newer_program_is_refused,
    backup_of_an_older_program_is_restored,
);

const OWN: &str = env!("CARGO_PKG_VERSION");

async fn revision_of_a_newer_program_is_refused(engine: Engine) {
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
    let says = [NEWER, "restore it with the program that made it", "--allow-newer"];
    for forced in [false, true] {
        let force: &[&str] = if forced { &["--force"] } else { &[] };
        refused(&restored, &[&["restore", &file], force].concat(), &says).await;
        is_empty(&restored).await;
    }
    let url = restored.owner_url();
    let newer = [("DATABASE_URL", url.as_str()), (REVISIONS, &revisions)];
    let done = run(&["restore", &file], &newer).await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

async fn backup_of_a_newer_program_is_refused(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = backup(&database, &folder, &[]).await;
    change_manifest(&file, &format!("\"program\":\"{OWN}\""), "\"program\":\"999.0.0\"");
    let (file, restored) = (text(&file), empty(engine).await);
    let own = format!("this one is {OWN}");
    let says = [&file, "the program 999.0.0 made it", &own, "--allow-newer"];
    for forced in [false, true] {
        let force: &[&str] = if forced { &["--force"] } else { &[] };
        refused(&restored, &[&["restore", &file], force].concat(), &says).await;
        is_empty(&restored).await;
    }
    let done = ok(&restored, &["restore", &file, "--allow-newer"]).await;
    assert!(done.errors.contains("warning: ") && done.errors.contains("999.0.0"), "{done:?}");
    is_same(&restored, &database).await;
}

/// The release before a revision made it: its manifest has fewer revisions, and its program is older.
async fn backup_of_an_older_program_is_restored(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let last = database.value("SELECT max(version) FROM seaql_migrations").await;
    let before = format!("SELECT max(version) FROM seaql_migrations WHERE version < '{last}'");
    let before = database.value(&before).await;
    ok(&database, &["migrate", "down", &before, "--yes", "--allow-data-loss"]).await;
    let file = backup(&database, &folder, &[]).await;
    change_manifest(&file, &format!("\"program\":\"{OWN}\""), "\"program\":\"0.0.1\"");
    let restored = empty(engine).await;
    let done = ok(&restored, &["restore", &text(&file)]).await;
    assert!(done.errors.contains("run `bookstore migrate up` next"), "{done:?}");
    ok(&restored, &["migrate", "up"]).await;
    ok(&database, &["migrate", "up"]).await;
    is_same(&restored, &database).await;
}

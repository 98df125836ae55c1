//! What a restore does with the files of a SQLite database.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use bookstore_tests::{Database, Engine};

use super::{add, backup, categories, empty, filled, is_same, names, ok, refused, text};

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

/// SQLite would apply the log of the deleted database to the restored one, which damages it.
#[tokio::test]
async fn log_of_a_deleted_database_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Sqlite).await;
    let file = text(&backup(&database, &folder, &[]).await);
    for ending in ["-wal", "-journal"] {
        for forced in [false, true] {
            let restored = empty(Engine::Sqlite).await;
            let Database::Sqlite(sqlite) = &restored else { panic!("a SQLite file") };
            let log = format!("{}{ending}", text(&sqlite.path()));
            fs::write(&log, "frames").expect("a file");
            let force: &[&str] = if forced { &["--force"] } else { &[] };
            let restore = [&["restore", &file], force].concat();
            refused(&restored, &restore, &[&log, "move it away, then restore again"]).await;
            assert_eq!(names(sqlite.folder()).len(), 1, "{:?}", names(sqlite.folder()));
            fs::remove_file(&log).expect("the file");
            ok(&restored, &restore).await;
            is_same(&restored, &database).await;
        }
    }
}

/// The path of a database can be another file, or a folder.
#[tokio::test]
async fn what_is_no_database_is_neither_copied_nor_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Sqlite).await;
    let file = text(&backup(&database, &folder, &[]).await);
    let to = text(&folder.path().join("other.backup"));
    let other = empty(Engine::Sqlite).await;
    let Database::Sqlite(sqlite) = &other else { panic!("a SQLite file") };
    let path = sqlite.path();
    refused(&other, &["backup", "--to", &to], &[&text(&path), "no such database"]).await;
    fs::write(&path, "a letter of some length").expect("a file");
    for arguments in [&["backup", "--to", &to][..], &["restore", &file, "--force"]] {
        refused(&other, arguments, &[&text(&path), "it is no SQLite database"]).await;
    }
    assert_eq!(fs::read(&path).expect("the letter"), b"a letter of some length");
    fs::remove_file(&path).expect("the letter");
    fs::create_dir(&path).expect("a folder");
    for arguments in [&["backup", "--to", &to][..], &["restore", &file, "--force"]] {
        refused(&other, arguments, &[&text(&path), "name a SQLite file in DATABASE_URL"]).await;
    }
}

/// Otherwise the service, which runs as another user, could not open the file.
#[tokio::test]
async fn restored_file_keeps_its_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Sqlite).await;
    let file = text(&backup(&database, &folder, &[]).await);
    let Database::Sqlite(sqlite) = &database else { panic!("a SQLite file") };
    let mode = || fs::metadata(sqlite.path()).expect("the database").permissions().mode() & 0o777;
    fs::set_permissions(sqlite.path(), fs::Permissions::from_mode(0o640)).expect("another mode");
    ok(&database, &["restore", &file, "--force"]).await;
    assert_eq!(mode(), 0o640);
}

/// Each sentence says what the files are good for, so that the operator need not know SQLite's errors.
#[tokio::test]
async fn damaged_database_is_named_and_its_file_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Sqlite).await;
    let file = text(&backup(&database, &folder, &[]).await);
    let Database::Sqlite(sqlite) = &database else { panic!("a SQLite file") };
    let (path, to) = (sqlite.path(), text(&folder.path().join("other.backup")));
    let mut bytes = fs::read(&path).expect("the database");
    // The first page has the schema.
    bytes[100..4000].fill(0x55);
    fs::write(&path, &bytes).expect("the damage");
    let says = [&text(&path), "the database is damaged", "move it, its -wal and its -shm away"];
    for arguments in [&["backup", "--to", &to][..], &["restore", &file, "--force"]] {
        refused(&database, arguments, &says).await;
        assert_eq!(fs::read(&path).expect("the damaged file"), bytes);
    }
    fs::remove_file(&path).expect("the damaged file");
    for ending in ["-wal", "-shm"] {
        // The last session removes them where it can.
        let _ = fs::remove_file(format!("{}{ending}", text(&path)));
    }
    ok(&database, &["restore", &file]).await;
    assert_eq!(categories(&database).await.len(), 305);
}

/// Otherwise the link would become a file, and the old rows would stay where it led.
#[tokio::test]
async fn link_to_a_database_stays_a_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Sqlite).await;
    let file = text(&backup(&database, &folder, &[]).await);
    let linked = empty(Engine::Sqlite).await;
    let Database::Sqlite(sqlite) = &linked else { panic!("a SQLite file") };
    let (link, target) = (sqlite.path(), folder.path().join("target.db"));
    symlink(&target, &link).expect("a link");
    let says = [&text(&link), "whose file can't be found", "mount its disk"];
    refused(&linked, &["restore", &file], &says).await;
    fs::write(&target, "").expect("an empty file");
    ok(&linked, &["restore", &file]).await;
    assert_eq!(fs::read_link(&link).expect("still a link"), target);
    assert_eq!(categories(&linked).await.len(), 305);
}

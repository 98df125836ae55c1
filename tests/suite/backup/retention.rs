//! Which backups of a folder are kept.

use std::{fs, path::Path};

use bookstore_tests::{Engine, on_every_engine};

use super::{filled, names, ok, text};

on_every_engine!(
    old_backups_are_deleted,
    number_of_backups_is_limited,
    new_backup_is_kept_when_the_clock_went_back,
    backups_of_one_second_have_different_names,
);

/// Makes a backup older by changing the time in its manifest, and gives it another name.
fn age(folder: &Path, name: &str, days: i64, database: Option<&str>) {
    let made = names(folder).into_iter().find(|name| name.starts_with("bookstore-"));
    let made = folder.join(made.expect("the backup of this second"));
    let mut bytes = fs::read(&made).expect("the backup");
    let mut change = |key: &str, value: &dyn Fn(&str) -> String| {
        let start = bytes.windows(key.len()).position(|part| part == key.as_bytes());
        let start = start.expect("the key") + key.len();
        let length = bytes[start..].iter().position(|byte| b",}".contains(byte)).expect("an end");
        let old = String::from_utf8(bytes[start..start + length].to_vec()).expect("text");
        bytes.splice(start..start + length, value(&old).bytes());
    };
    let earlier = |old: &str| (old.parse::<i64>().expect("seconds") - days * 86_400).to_string();
    change("\"created_at\":", &earlier);
    if let Some(database) = database {
        change("\"database\":", &|_| format!("{database:?}"));
    }
    fs::write(folder.join(name), &bytes).expect("a file");
    fs::remove_file(made).expect("the backup");
}

async fn old_backups_are_deleted(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let to = text(folder.path());
    for (name, days, other) in
        [("29.backup", 29, None), ("31.backup", 31, None), ("other.backup", 99, Some("another"))]
    {
        ok(&database, &["backup", "--to", &to, "--keep-days", "0"]).await;
        age(folder.path(), name, days, other);
    }
    fs::write(folder.path().join("broken.backup"), "not one").expect("a file");
    let done = ok(&database, &["backup", "--to", &to]).await;
    assert!(done.errors.contains("31.backup (retention)"), "{done:?}");
    let mut left = names(folder.path());
    left.retain(|name| !name.starts_with("bookstore-"));
    assert_eq!(left, ["29.backup", "broken.backup", "other.backup"]);
}

async fn number_of_backups_is_limited(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let to = text(folder.path());
    for days in 1..=3 {
        ok(&database, &["backup", "--to", &to]).await;
        age(folder.path(), &format!("{days}.backup"), days, None);
    }
    ok(&database, &["backup", "--to", &to, "--keep", "2"]).await;
    let left = names(folder.path());
    assert!(left.len() == 2 && left[0] == "1.backup", "{left:?}");
    let listed = ok(&database, &["backup", "list", &to]).await;
    let lines: Vec<&str> = listed.output.lines().collect();
    assert!(lines[0].starts_with("FILE") && lines[2].starts_with("1.backup"), "{lines:?}");
}

/// The time of the machine was wrong, so that an earlier backup has a later time.
async fn new_backup_is_kept_when_the_clock_went_back(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let to = text(folder.path());
    for (name, days) in [("future.backup", -3), ("1.backup", 1)] {
        ok(&database, &["backup", "--to", &to]).await;
        age(folder.path(), name, days, None);
    }
    ok(&database, &["backup", "--to", &to, "--keep", "1"]).await;
    let left = names(folder.path());
    assert!(left.len() == 2 && left[0].starts_with("bookstore-"), "the new one stays: {left:?}");
    assert_eq!(left[1], "future.backup");
}

async fn backups_of_one_second_have_different_names(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let to = text(folder.path());
    let arguments = ["backup", "--to", &to];
    for round in 1..=3 {
        tokio::join!(ok(&database, &arguments), ok(&database, &arguments));
        ok(&database, &arguments).await;
        assert_eq!(names(folder.path()).len(), 3 * round, "{:?}", names(folder.path()));
    }
}

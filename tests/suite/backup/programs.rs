//! PostgreSQL's client programs: those that are missing or too old are named.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use bookstore_tests::{Engine, psql, run};

use super::{backup, change_manifest, empty, filled, is_empty, manifest, names, refused, text};

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

fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// `pg_dump` itself refuses a newer server, after minutes and without saying where to find another.
#[tokio::test]
async fn client_programs_older_than_the_server_are_refused() {
    let (folder, programs) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let database = filled(Engine::Postgres).await;
    for name in ["pg_dump", "pg_restore"] {
        script(programs.path(), name, &format!("echo '{name} (PostgreSQL) 15.1'"));
    }
    // The server says that it is of version 99.
    let newer = format!(
        "while IFS= read -r line; do case $line in 'SHOW server_version_num;') echo 'SELECT 990001;';; \
         *) printf '%s\\n' \"$line\";; esac; done | {} \"$@\"",
        text(&psql())
    );
    script(programs.path(), "psql", &newer);
    let (url, to) = (database.owner_url(), text(folder.path()));
    let bin = text(programs.path());
    let environment = [("DATABASE_URL", url.as_str()), ("BOOKSTORE_POSTGRES_BIN", &bin)];
    let done = run(&["backup", "--to", &to], &environment).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    for part in ["pg_dump is of version 15", "the server of version 99", "BOOKSTORE_POSTGRES_BIN"] {
        assert!(done.errors.contains(part), "{part}: {done:?}");
    }
    assert!(names(folder.path()).is_empty());
}

/// An older `pg_restore` can't read the archive of a newer `pg_dump`.
#[tokio::test]
async fn backup_of_newer_client_programs_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = filled(Engine::Postgres).await;
    let file = backup(&database, &folder, &[]).await;
    let tools = format!("\"tools\":{}", manifest(&file)["tools"]);
    change_manifest(&file, &tools, "\"tools\":99");
    let restored = empty(Engine::Postgres).await;
    let says = [&text(&file), "pg_dump 99 wrote it", "install client programs of version 99"];
    refused(&restored, &["restore", &text(&file)], &says).await;
    is_empty(&restored).await;
}

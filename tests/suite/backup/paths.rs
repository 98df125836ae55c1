//! Paths that are no backup or no folder of backups: each gets a sentence that names the path and says
//! what to do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use bookstore_tests::{Database, Engine, on_every_engine, program};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::process::Command;

use super::{backup, empty, filled, is_empty, names, ok, on, refused, text};

on_every_engine!(
    wrong_file_is_refused,
    cut_file_is_refused_at_each_length,
    wrong_destination_is_refused,
    restore_without_room_changes_nothing,
);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A pipe with a name and no writer. To open it would take for ever.
fn pipe(folder: &Path) -> PathBuf {
    let path = folder.join("pipe.backup");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    path
}

async fn wrong_file_is_refused(engine: Engine) {
    let (database, folder) = (empty(engine).await, folder());
    let path = |name: &str| text(&folder.path().join(name));
    let file = path("it");
    refused(&database, &["restore", &file], &[&file, "no such file", "backup list FOLDER"]).await;
    let inside = path("");
    refused(&database, &["restore", &inside], &[&inside, "it is a folder", "name a backup in it"])
        .await;
    let pipe = text(&pipe(folder.path()));
    refused(&database, &["restore", &pipe], &[&pipe, "write it to a file first"]).await;
    for (content, says) in [
        (&b"PGDMP\x01\x0e\x00 and more of it"[..], "use pg_restore"),
        (b"SQLite format 3\0 and more of it", "it is a SQLite database"),
        (b"bookstore backup 9\n{}\n and more", "use the program that made it"),
        (b"bookstore,title\n1,A book of some length\n", "name a file that `bookstore backup` made"),
        (b"id,title\n1,A book of some length\n", "name a file that `bookstore backup` made"),
        (b"", "it is no backup of this program"),
        (b"bookstore backup 1\n{", "its manifest has no end): use another backup"),
        (b"bookstore backup 1\n\xff\xfe\n", "its manifest can't be read"),
        (b"bookstore backup 1\n[]\n", "its manifest can't be read (no format): use another"),
        (b"bookstore backup 1\n{\"format\":1}\n", "can't be read (no list tables): use another"),
        (b"bookstore backup 1\n{\"format\":7,\"program\":\"9.9.9\"}\n", "the format 7"),
    ] {
        fs::write(&file, content).expect("a file");
        refused(&database, &["restore", &file], &[&file, says]).await;
    }
    let below = format!("{file}/it.backup");
    refused(&database, &["restore", &below], &[&below, "is a file and no folder"]).await;
    for missing in ["it", "missing"].map(path) {
        refused(&database, &["backup", "list", &missing], &[&missing, "name the folder"]).await;
    }
}

/// A copy over a network can end at any byte.
async fn cut_file_is_refused_at_each_length(engine: Engine) {
    let (database, folder) = (filled(engine).await, folder());
    let file = backup(&database, &folder, &[]).await;
    let whole = fs::read(&file).expect("the backup");
    let manifest = whole.iter().skip(19).position(|byte| *byte == b'\n').expect("a manifest") + 20;
    let restored = empty(engine).await;
    let end = whole.len();
    for length in [10, 19, 40, manifest - 1, manifest, end - 200, end - 100, end - 73, end - 1] {
        fs::write(&file, &whole[..length]).expect("a shorter file");
        let says = if length < 19 { "it is no backup" } else { "use another backup" };
        refused(&restored, &["restore", &text(&file)], &[&text(&file), says]).await;
        is_empty(&restored).await;
        let listed = on(&database, &["backup", "list", &text(folder.path())]).await;
        assert_eq!(listed.code, Some(1), "{length}: {listed:?}");
        assert!(listed.errors.contains(says), "{length}: {listed:?}");
    }
}

async fn wrong_destination_is_refused(engine: Engine) {
    let (database, folder) = (filled(engine).await, folder());
    let path = |name: &str| text(&folder.path().join(name));
    fs::write(path("file"), "not a folder").expect("a file");
    let pipe = pipe(folder.path());
    let before = names(folder.path());
    for (to, shown, says) in [
        (
            path("missing/it.backup"),
            path("missing"),
            "make it first, or name another path with --to",
        ),
        (path("file/it.backup"), path("file"), "is a file and no folder"),
        (path("file/"), path("file/"), "is a file and no folder"),
        (path("file/below/"), path("file/below/"), "is a file and no folder"),
        (path("file"), path("file"), "it exists: name a new file, or a folder"),
        (text(&pipe), text(&pipe), "it exists: name a new file, or a folder"),
        ("-".to_owned(), "-: ".to_owned(), "name a file or a folder with --to"),
        ("/dev/null/it".to_owned(), "/dev/null".to_owned(), "is a file and no folder"),
        ("/proc/it.backup".to_owned(), "/proc".to_owned(), "name another path with --to"),
    ] {
        refused(&database, &["backup", "--to", &to], &[&shown, says]).await;
        let errors = on(&database, &["backup", "--to", &to]).await.errors;
        assert!(!errors.contains(".bookstore-unfinished"), "a path that the user knows: {errors}");
    }
    assert_eq!(names(folder.path()), before, "nothing was left");
    let done = on(&database, &["backup", "--to", ""]).await;
    assert_eq!(done.code, Some(2), "{done:?}");
    let to = path("new/folder/");
    ok(&database, &["backup", "--to", &to]).await;
    assert_eq!(names(Path::new(&to)).len(), 1);
}

/// The program gets no file of more than some blocks. On PostgreSQL a restore writes no file.
async fn restore_without_room_changes_nothing(engine: Engine) {
    let (database, folder) = (filled(engine).await, folder());
    let file = text(&backup(&database, &folder, &[]).await);
    let restored = empty(engine).await;
    // Blocks of 512 bytes (POSIX). A process that ignores SIGXFSZ gets EFBIG for a write beyond them.
    let script = "trap '' XFSZ; ulimit -f 80; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(program()).args(["restore", &file]);
    command.env_clear().env("DATABASE_URL", restored.owner_url()).kill_on_drop(true);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    let output = command.output().await.expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let Database::Sqlite(sqlite) = &restored else {
        assert_eq!(output.status.code(), Some(0), "{errors}");
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let shown = text(sqlite.folder());
    let other = "name a file in another folder in DATABASE_URL; the database is as before";
    assert!(errors.contains(&format!("{shown}: no room")) && errors.contains(other), "{errors}");
    is_empty(&restored).await;
}

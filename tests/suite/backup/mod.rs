//! `bookstore backup` and `bookstore restore` on both engines: what is restored, what is refused, what
//! a kill leaves.

mod kill;
mod newer;
mod paths;
mod pipe;
mod programs;
mod refused;
mod retention;
mod sqlite;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use bookstore_tests::{Database, Engine, Finished, Origin, catalog, on_every_engine, program, run};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use tokio::process::{Child, Command};

on_every_engine!(
    backup_restores_every_row_and_object,
    encrypted_backup_restores_by_its_command,
    verified_backup_leaves_no_scratch_database,
    forced_restore_replaces_everything,
    full_disk_is_a_sentence_and_leaves_nothing,
);

/// A database with rows of several tables.
async fn filled(engine: Engine) -> Database {
    let database = Database::create(engine, Origin::Migrated).await;
    if engine == Engine::Sqlite {
        let done = run(&["migrate", "up"], &[("DATABASE_URL", &database.url())]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    for number in 1..=300 {
        add(&database, number).await;
    }
    database
}

/// Adds a category.
async fn add(database: &Database, number: u32) {
    let id = uuid::Uuid::from_u128(number.into());
    let id = match database.engine() {
        Engine::Postgres => format!("'{id}'"),
        Engine::Sqlite => format!("X'{}'", id.simple()),
    };
    let sql = format!("INSERT INTO categories (id, name) VALUES ({id}, 'Category {number} é')");
    database.sql(&sql).await;
}

/// An empty database of the same engine.
async fn empty(engine: Engine) -> Database {
    Database::create(engine, Origin::Empty).await
}

/// Runs the program on a database.
async fn on(database: &Database, arguments: &[&str]) -> Finished {
    run(arguments, &[("DATABASE_URL", &database.owner_url())]).await
}

/// Runs it, which must succeed.
async fn ok(database: &Database, arguments: &[&str]) -> Finished {
    let done = on(database, arguments).await;
    assert_eq!(done.code, Some(0), "{arguments:?}: {done:#?}");
    done
}

/// Runs it, which must fail with these parts of a sentence.
async fn refused(database: &Database, arguments: &[&str], parts: &[&str]) {
    let done = on(database, arguments).await;
    assert_eq!(done.code, Some(1), "{arguments:?}: {done:#?}");
    for part in parts {
        assert!(done.errors.contains(part), "{arguments:?} says {part:?}: {}", done.errors);
    }
}

/// Starts the program on a database.
fn start(database: &Database, arguments: &[&str]) -> Child {
    let mut command = Command::new(program());
    command.args(arguments).env_clear().env("DATABASE_URL", database.owner_url());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("the program under test starts")
}

/// Makes a backup in the folder and returns its file.
async fn backup(database: &Database, folder: &TempDir, more: &[&str]) -> PathBuf {
    let file = folder.path().join(format!("{}.backup", uuid::Uuid::new_v4().simple()));
    let to = text(&file);
    ok(database, &[&["backup", "--to", &to], more].concat()).await;
    file
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn categories(database: &Database) -> Vec<bookstore_tests::Row> {
    database.sql("SELECT * FROM categories ORDER BY id").await
}

/// The objects of the schema. PostgreSQL prints other parentheses when an expression was printed and
/// read once, as `pg_dump` does.
async fn objects(database: &Database) -> Vec<Vec<Option<String>>> {
    let plain = |text: String| text.replace(['(', ')'], "");
    let rows = catalog(database).await.into_iter();
    rows.map(|row| row.into_iter().map(|cell| cell.map(plain)).collect()).collect()
}

/// Replaces a text of a backup's manifest, as of a backup whose maker went wrong or was another
/// program. The file's own hash is right.
fn change_manifest(file: &Path, before: &str, after: &str) {
    let mut bytes = fs::read(file).expect("the backup");
    let at = bytes.windows(before.len()).position(|part| part == before.as_bytes());
    let at = at.expect("the text in the manifest");
    bytes.splice(at..at + before.len(), after.bytes());
    // The last line is the hash of what is before it.
    let end = bytes.len() - 73;
    let hash = digest(&SHA256, &bytes[..end]);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.truncate(end);
    bytes.extend(format!("\nsha256 {hash}\n").bytes());
    fs::write(file, &bytes).expect("a changed file");
}

/// A backup's manifest.
fn manifest(file: &Path) -> serde_json::Value {
    let content = fs::read(file).expect("the backup");
    let line = content.split(|byte| *byte == b'\n').nth(1).expect("a manifest");
    serde_json::from_slice(line).expect("JSON")
}

/// A restore has left nothing in an empty database.
async fn is_empty(database: &Database) {
    match database {
        Database::Postgres(_) => {
            let tables =
                "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
            assert_eq!(database.value(tables).await, "0");
        }
        Database::Sqlite(sqlite) => assert!(names(sqlite.folder()).is_empty()),
    }
}

/// Both have the same rows and the same schema.
async fn is_same(restored: &Database, original: &Database) {
    assert_eq!(categories(restored).await, categories(original).await);
    assert_eq!(objects(restored).await, objects(original).await);
    let check = ok(restored, &["migrate", "check"]).await;
    assert!(check.output.contains("the schema is that of"), "{check:?}");
}

async fn backup_restores_every_row_and_object(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let to = format!("{}/new/", text(folder.path()));
    let made = ok(&database, &["backup", "--to", &to]).await;
    assert!(made.errors.contains("/s"), "the rate is shown: {made:?}");
    let listed = ok(&database, &["backup", "list", &to, "--check", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed.output).expect("JSON");
    let file = listed["backups"][0]["file"].as_str().expect("a file").to_owned();
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed["backups"][0]["encrypted"], false);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&file).expect("the backup").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "it holds password hashes");
    let restored = empty(engine).await;
    let done = ok(&restored, &["restore", &file]).await;
    assert!(done.output.starts_with("restored "), "{done:?}");
    is_same(&restored, &database).await;
}

async fn encrypted_backup_restores_by_its_command(engine: Engine) {
    // It is no cipher, but it changes the bytes.
    const TURN: &str = "tr '\\000-\\377' '\\200-\\377\\000-\\177'";
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = backup(&database, &folder, &["--encrypt-command", TURN, "--decrypt-command", TURN]);
    let file = text(&file.await);
    let restored = empty(engine).await;
    refused(&restored, &["restore", &file], &["it is encrypted: give --decrypt-command"]).await;
    let wrong = ["restore", &file, "--decrypt-command", "cat"];
    refused(&restored, &wrong, &["can't be read", "is --decrypt-command the right one?"]).await;
    let failing = ["restore", &file, "--decrypt-command", "cat > /dev/null; exit 7"];
    refused(&restored, &failing, &["--decrypt-command failed (exit code 7)"]).await;
    let cut = ["restore", &file, "--decrypt-command", &format!("{TURN} | head -c 9000")];
    refused(&restored, &cut, &["can't be read"]).await;
    ok(&restored, &["restore", &file, "--decrypt-command", TURN]).await;
    is_same(&restored, &database).await;
}

async fn verified_backup_leaves_no_scratch_database(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let scratch = "SELECT count(*) FROM pg_database WHERE datname LIKE 'bookstore_verify%'";
    let to = text(&folder.path().join("it.backup"));
    if let Database::Postgres(postgres) = &database {
        let plain = ["backup", "--verify", "--to", &to];
        refused(&database, &plain, &["the role needs CREATEDB"]).await;
        assert!(names(folder.path()).is_empty(), "a backup that is not verified has no name");
        let url = postgres.url("postgres");
        let done = run(&plain, &[("DATABASE_URL", &url)]).await;
        assert_eq!(done.code, Some(0), "{done:#?}");
        assert_eq!(database.value(scratch).await, "0");
    } else {
        ok(&database, &["backup", "--verify", "--to", &to]).await;
    }
    assert_eq!(names(folder.path()), ["it.backup"]);
}

async fn forced_restore_replaces_everything(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    let file = text(&backup(&database, &folder, &[]).await);
    let saved = categories(&database).await;
    database.sql("DELETE FROM categories; CREATE TABLE extra (id integer)").await;
    refused(&database, &["restore", &file], &["is not empty", "--force"]).await;
    assert!(categories(&database).await.is_empty(), "nothing changed");
    ok(&database, &["restore", &file, "--force"]).await;
    assert_eq!(categories(&database).await, saved);
    assert!(database.try_sql("SELECT * FROM extra").await.is_err(), "the table is gone");
    ok(&database, &["migrate", "check"]).await;
}

async fn full_disk_is_a_sentence_and_leaves_nothing(engine: Engine) {
    let (database, folder) = (filled(engine).await, tempfile::tempdir().expect("a folder"));
    // Blocks of 512 bytes (POSIX). SQLite's shared memory alone needs 64 of them.
    let blocks = match engine {
        Engine::Postgres => 4,
        Engine::Sqlite => 80,
    };
    // A process that ignores SIGXFSZ gets EFBIG for a write beyond the limit.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(program()).args(["backup", "--to", &text(folder.path())]);
    command.env_clear().env("DATABASE_URL", database.owner_url());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    let output = command.output().await.expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("no room") && errors.contains("free some"), "{errors}");
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
}

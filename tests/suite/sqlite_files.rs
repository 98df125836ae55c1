//! SQLite files that cannot be opened: every command that opens the database says which file it is,
//! what is wrong with it, and what to do.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use bookstore_tests::{Finished, program, run};
use tempfile::TempDir;

/// An account without rights. Root is subject to no mode of a file.
const NOBODY: u32 = 65_534;

/// What `migrate check` ends with if it has not compared anything.
const NOT_CHECKED: i32 = 9;

/// The commands that open the database.
const COMMANDS: [&[&str]; 6] = [
    &["serve", "--listen-addr", "127.0.0.1:0"],
    &["migrate", "up"],
    &["migrate", "status"],
    &["migrate", "check"],
    &["users", "import", "users.jsonl"],
    &["explain", "books"],
];

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

/// Runs a command in a folder, as an account without rights if this process has them.
async fn run_in(folder: &Path, arguments: &[&str], url: &str) -> Finished {
    let mut command = Command::new(program());
    command.args(arguments).env_clear().env("DATABASE_URL", url);
    command.current_dir(folder).stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = tokio::process::Command::from(command).output();
    let output = tokio::time::timeout(bookstore_tests::SOON, output).await.expect("an end");
    let output = output.expect("an output");
    Finished {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn assert_told(finished: &Finished, sentence: &str, context: &str) {
    let last = finished.errors.lines().last().unwrap_or_default();
    assert!(matches!(finished.code, Some(1 | NOT_CHECKED)), "{context}: {finished:?}");
    assert!(
        last == format!("error: {sentence}")
            || last == format!("error: migrating the database: {sentence}"),
        "{context}: {finished:?}"
    );
}

#[tokio::test]
async fn every_command_says_why_the_file_is_not_opened() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("directory.db")).expect("a directory");
    fs::write(at("text.db"), "This is the text of a letter. ".repeat(9)).expect("a file");
    let users = at("users.jsonl");
    fs::write(&users, "").expect("a file");
    let missing = format!(
        "the database's file {} does not exist: correct the database's URL, or add ?mode=rwc to it \
         to create the file",
        at("missing.db")
    );
    let absent = format!(
        "the directory {} of the database's file {} does not exist: create it, or correct the \
         database's URL",
        at("absent"),
        at("absent/b.db")
    );
    let text = format!(
        "the file {} is not a SQLite database: correct the database's URL, or move the file away",
        at("text.db")
    );
    let beside = format!(
        "{} is not a directory, so the database's file {} cannot be in it",
        at("text.db"),
        at("text.db/b.db")
    );
    let directory =
        format!("{} is a directory: name a file in the database's URL", at("directory.db"));
    for (url, sentence) in [
        (format!("sqlite://{}", at("missing.db")), &missing),
        (format!("sqlite://{}?mode=rw", at("missing.db")), &missing),
        (format!("sqlite://{}", at("absent/b.db")), &absent),
        (format!("sqlite://{}?mode=rwc", at("absent/b.db")), &absent),
        (format!("sqlite://{}?mode=rwc", at("text.db")), &text),
        (format!("sqlite://{}?mode=rwc", at("text.db/b.db")), &beside),
        (format!("sqlite://{}?mode=rwc", at("directory.db")), &directory),
    ] {
        for command in COMMANDS {
            let command = command.iter().map(|part| match *part {
                "users.jsonl" => users.as_str(),
                part => part,
            });
            let command = command.collect::<Vec<_>>();
            let finished = run(&command, &[("DATABASE_URL", &url)]).await;
            assert_told(&finished, sentence, &format!("{url} {command:?}"));
        }
    }
    for made in ["missing.db", "absent"] {
        assert!(!Path::new(&at(made)).exists(), "a refused command creates nothing: {made}");
    }
}

#[tokio::test]
async fn missing_rights_name_the_file_or_its_directory() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let url = |name: &str| format!("sqlite://{}?mode=rwc", at(name));
    // The database exists, and its account may write the file but not the directory.
    assert_eq!(run(&["migrate", "up"], &[("DATABASE_URL", &url("b.db"))]).await.code, Some(0));
    fs::set_permissions(at("b.db"), fs::Permissions::from_mode(0o666)).expect("a mode");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).expect("a mode");
    let up = ["serve", "--listen-addr", "127.0.0.1:0"];
    let refused = run_in(folder.path(), &up, &url("b.db")).await;
    let sentence = format!(
        "the directory {} cannot be written: Permission denied (os error 13). SQLite keeps its \
         write-ahead log in it, beside {}",
        folder.path().display(),
        at("b.db")
    );
    assert_told(&refused, &sentence, "the directory");

    let refused = run_in(folder.path(), &up, &url("new.db")).await;
    let sentence = format!(
        "the database's file {} cannot be created: Permission denied (os error 13)",
        at("new.db")
    );
    assert_told(&refused, &sentence, "a new file");

    fs::set_permissions(at("b.db"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let refused = run_in(folder.path(), &up, &url("b.db")).await;
    let sentence = format!(
        "the database's file {} cannot be opened: Permission denied (os error 13)",
        at("b.db")
    );
    assert_told(&refused, &sentence, "the file");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
}

//! `migrate new` where a table or a column may have another name: it asks, and never drops rows
//! unasked.

use std::fs;

use bookstore_tests::{Database, Engine, REVISIONS, on_every_engine, run, written};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    check, migrated,
    new::{files, folder, head, new},
};

on_every_engine!(
    new_from_drift_asks_about_a_renamed_table,
    new_from_drift_asks_about_a_renamed_column,
    new_from_drift_asks_about_a_renamed_column_that_is_not_null,
);

async fn new_from_drift_asks_about_a_renamed_table(engine: Engine) {
    asks(engine, "TABLE \"carts\" RENAME TO \"carts2\"", ["carts2", "carts"], "TABLE").await;
}

async fn new_from_drift_asks_about_a_renamed_column(engine: Engine) {
    let change = "TABLE \"users\" RENAME COLUMN \"bio\" TO \"about\"";
    asks(engine, change, ["users.about", "users.bio"], "COLUMN").await;
}

/// The question is the one about the name, not the one about a value.
async fn new_from_drift_asks_about_a_renamed_column_that_is_not_null(engine: Engine) {
    let change = "TABLE \"posts\" RENAME COLUMN \"content\" TO \"body\"";
    asks(engine, change, ["posts.body", "posts.content"], "").await;
}

/// Renames by hand, and repairs it in all ways: without an answer, with `--rename OLD:NEW`, which is
/// a step on PostgreSQL alone, and with `--rename OLD:`, which drops it if `dropped` is not empty.
async fn asks(engine: Engine, change: &str, [old, new_name]: [&str; 2], dropped: &str) {
    let database = migrated(engine).await;
    database.sql(&format!("ALTER {change}")).await;
    let (url, folder) = (database.owner_url(), folder(&head()));
    let open = new(&url, None, &folder, &["--from-drift"]).await;
    assert_eq!(open.code, Some(1), "{open:?}");
    let question = format!("is {new_name} the new name of {old}?");
    assert!(open.errors.contains(&question), "{open:?}");
    assert!(!open.errors.contains("--fill"), "{open:?}");
    assert_eq!(files(&folder), Vec::<String>::new());

    let answer = format!("{old}:{new_name}");
    let renamed = new(&url, None, &folder, &["--from-drift", "--rename", &answer]).await;
    match engine {
        Engine::Postgres => {
            assert_eq!(renamed.code, Some(0), "{renamed:?}");
            repairs(&database, &renamed.output).await;
        }
        Engine::Sqlite => {
            assert_eq!(renamed.code, Some(1), "{renamed:?}");
            let (_, statement) = renamed.errors.split_once("run ").expect("a statement");
            let (statement, _) = statement.split_once(" by hand").expect("its end");
            assert!(open.errors.contains(statement), "the question names it too: {open:?}");
            assert_eq!(files(&folder), Vec::<String>::new());
            database.sql(statement).await;
            let checked = check(&url, &[]).await;
            assert_eq!(checked.code, Some(0), "{statement}: {checked:?}");
        }
    }
    if dropped.is_empty() {
        return;
    }
    let database = migrated(engine).await;
    database.sql(&format!("ALTER {change}")).await;
    let answer = format!("{old}:");
    let (url, folder) = (database.owner_url(), self::folder(&head()));
    let gone = new(&url, None, &folder, &["--from-drift", "--rename", &answer]).await;
    assert_eq!(gone.code, Some(0), "{gone:?}");
    let text = text(&gone.output);
    assert!(text.contains(&format!("// Data loss: {old} with its ")), "{text}");
}

/// The revision that `new --json` wrote.
fn text(output: &str) -> String {
    let said: Value = serde_json::from_str(output).expect("JSON");
    fs::read_to_string(said["file"].as_str().expect("a file")).expect("a revision")
}

/// Applies a written revision, after which nothing differs.
async fn repairs(database: &Database, output: &str) {
    let text = text(output);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("revisions.json");
    fs::write(&file, json!({"revisions": [written(&text)]}).to_string()).expect("the revisions");
    let url = database.owner_url();
    for arguments in [["migrate", "up"], ["migrate", "check"]] {
        let settings = [("DATABASE_URL", url.as_str()), (REVISIONS, file.to_str().expect("text"))];
        let finished = run(&arguments, &settings).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}\n{text}");
    }
}

/// Both engines ask the same; each question is printed once.
#[tokio::test]
async fn new_asks_each_question_once() {
    let database = migrated(Engine::Postgres).await;
    let renames = [
        "ALTER TABLE \"posts\" RENAME COLUMN \"content\" TO \"body\"",
        "ALTER TABLE \"users\" RENAME COLUMN \"bio\" TO \"about\"",
    ];
    let back = [
        "ALTER TABLE \"users\" RENAME COLUMN \"about\" TO \"bio\"",
        "ALTER TABLE \"posts\" RENAME COLUMN \"body\" TO \"content\"",
    ];
    let steps = |all: [&str; 2]| all.map(|one| json!({"sql": one}));
    let revision =
        json!({"name": "m29990101_000001_names", "up": steps(renames), "down": steps(back)});
    let folder = folder(&head());
    let file = folder.path().join("revisions.json");
    fs::write(&file, json!({"revisions": [revision]}).to_string()).expect("the revisions");
    let finished = new(&database.owner_url(), Some(&file), &folder, &[]).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    for question in ["--rename posts.body:posts.content,", "--rename users.about:users.bio,"] {
        assert_eq!(finished.errors.matches(question).count(), 1, "{question}: {finished:?}");
    }
}

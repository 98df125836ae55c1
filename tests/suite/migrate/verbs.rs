//! The command line: targets, questions, tables, JSON, exit codes.

use bookstore_tests::{
    Database, Engine, Finished, Origin, catalog, known_revisions, on_every_engine, run,
};
use serde_json::{Value, json};

use super::{Migrator, finished, migrated, names};

on_every_engine!(
    migrate_target_is_accepted_in_every_form,
    down_asks_first_and_keeps_rows,
    stamp_changes_only_the_bookkeeping,
    every_verb_prints_json,
    dry_run_changes_nothing,
    two_heads_are_refused,
    a_target_that_does_not_exist_is_refused,
    a_closed_pipe_stops_no_migration,
);

/// The newest revision of the program.
fn head() -> String {
    known_revisions().pop().expect("a revision")
}

async fn migrate_target_is_accepted_in_every_form(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let migrator = Migrator::new(&database, &json!({}));
    let at = async || migrator.ok(&["current"]).await.trim_end().to_owned();
    assert_eq!(at().await, "base");
    let known = known_revisions();
    let before_head = |count: usize| &*known[known.len() - 1 - count];
    let at_head = format!("{} (head)", head());
    for (arguments, then) in [
        (&["up", "+2"][..], "m20261121_000002_create_categories"),
        (&["up", "1"], "m20261121_000003_create_books"),
        (&["up", "m20261121_000005_create_users"], "m20261121_000005_create_users"),
        (&["up", "20261121_000006"], "m20261121_000006_create_posts"),
        (&["up", "m20261121_000004"], "m20261121_000006_create_posts"),
        (&["up", "head"], &*at_head),
        (&["up"], &*at_head),
        (&["down", "-2", "--yes"], before_head(2)),
        (&["down", "--yes"], before_head(3)),
        (
            &["down", "m20261121_000004", "--yes", "--allow-data-loss"],
            "m20261121_000004_create_items",
        ),
        (&["down", "2", "--yes", "--allow-data-loss"], "m20261121_000002_create_categories"),
        (&["down", "base", "--yes", "--allow-data-loss"], "base"),
    ] {
        migrator.ok(arguments).await;
        assert_eq!(at().await, then, "{arguments:?}");
    }
    let errors = migrator.fails(&["up", "m2019"], 6).await;
    assert!(errors.contains("there is no revision m2019"), "{errors}");
    let errors = migrator.fails(&["up", "m20261121_00000"], 6).await;
    assert!(errors.contains("several revisions") && errors.contains("create_books"), "{errors}");
    migrator.ok(&["up", "+1"]).await;
    let errors = migrator.fails(&["down", "head", "--yes"], 6).await;
    assert!(errors.contains("no way down from m20261121_000001"), "{errors}");
}

async fn down_asks_first_and_keeps_rows(engine: Engine) {
    let database = migrated(engine).await;
    let migrator = Migrator::new(&database, &json!({}));
    let errors = migrator.fails(&["down"], 5).await;
    let parts = ["This reverts", &*head(), "--yes"];
    assert!(parts.iter().all(|part| errors.contains(part)), "{errors}");
    let errors = migrator.fails(&["down", "base", "--yes"], 5).await;
    let parts = ["table categories (5 rows)", "table sealing_keys (1 rows)", "--allow-data-loss"];
    assert!(parts.iter().all(|part| errors.contains(part)), "{errors}");
    assert!(!errors.contains("book_word"), "the search's index can be made again: {errors}");
    assert_eq!(names(&database).await.len(), known_revisions().len());
    migrator.ok(&["down", "base", "--yes", "--allow-data-loss"]).await;
    assert_eq!(migrator.ok(&["down", "--yes"]).await, "nothing to revert\n");
}

async fn stamp_changes_only_the_bookkeeping(engine: Engine) {
    let database = migrated(engine).await;
    let migrator = Migrator::new(&database, &json!({}));
    let before = catalog(&database).await;
    let forgot = migrator.ok(&["stamp", "m20261121_000009"]).await;
    assert_eq!(forgot.lines().count(), known_revisions().len() - 9, "{forgot}");
    assert!(migrator.ok(&["status"]).await.contains("pending  m20261121_000030"));
    let stamped = migrator.ok(&["stamp", "head"]).await;
    assert!(stamped.contains("stamped m20261121_000030_index_words_of_books"), "{stamped}");
    assert_eq!(migrator.ok(&["stamp", "head"]).await, "nothing to change\n");
    assert_eq!(migrator.ok(&["up"]).await, "nothing to apply\n");
    assert!(migrator.ok(&["history", "-v"]).await.contains("stamped"));
    assert_eq!(catalog(&database).await, before);
    // A lost row of the bookkeeping is reported, and can be restored.
    database.sql("DELETE FROM seaql_migrations WHERE version LIKE '%create_posts'").await;
    let errors = migrator.fails(&["up"], 6).await;
    assert!(errors.contains("m20261121_000006_create_posts isn't applied"), "{errors}");
    migrator.ok(&["stamp", "head"]).await;
    assert_eq!(migrator.ok(&["up"]).await, "nothing to apply\n");
    database.sql("INSERT INTO seaql_migrations VALUES ('m29990101_000001_other', 1)").await;
    assert_eq!(migrator.ok(&["stamp", "head"]).await, "nothing to change\n");
    assert_eq!(migrator.ok(&["stamp", "head", "--purge"]).await, "forgot m29990101_000001_other\n");
}

async fn every_verb_prints_json(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let migrator = Migrator::new(&database, &json!({}));
    let answer = async |arguments: &[&str]| -> Value {
        let output = migrator.ok(arguments).await;
        serde_json::from_str(&output)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output}"))
    };
    let applied = answer(&["up", "--json"]).await;
    assert_eq!(applied["applied"].as_array().map(Vec::len), Some(known_revisions().len()));
    assert_eq!(answer(&["current", "--json"]).await["is_head"], true);
    assert_eq!(answer(&["heads", "--json"]).await["heads"].as_array().map(Vec::len), Some(1));
    let history = answer(&["history", "--json"]).await;
    let known = known_revisions();
    assert_eq!(history["revisions"][0]["parent"], known[known.len() - 2]);
    assert!(
        history["revisions"][0]["program"]
            .as_str()
            .is_some_and(|program| program.starts_with("bookstore "))
    );
    let status = answer(&["status", "--json"]).await;
    assert_eq!(status["revisions"][11]["state"], "applied");
    let show = answer(&["show", "m20261121_000003", "--json"]).await;
    assert_eq!(show["hash"], show["recorded_hash"]);
    assert!(
        answer(&["sql", "--json"]).await["sql"]
            .as_str()
            .is_some_and(|sql| sql.contains("CREATE TABLE"))
    );
    assert_eq!(answer(&["up", "--dry-run", "--json"]).await["would_apply"], json!([]));
    assert_eq!(
        answer(&["down", "--yes", "--json"]).await["reverted"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(
        answer(&["stamp", "head", "--json"]).await["stamped"].as_array().map(Vec::len),
        Some(1)
    );
    let repair = ["repair", "m20261121_000003", "--reason", "x", "--json"];
    assert_eq!(answer(&repair).await["repaired"], false);
    let Finished { code, output, .. } = migrator.run(&["up", "nowhere", "--json"]).await;
    let refused: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, &refused["exit_code"]), (Some(6), &json!(6)), "{output}");
}

async fn dry_run_changes_nothing(engine: Engine) {
    let database = migrated(engine).await;
    let revisions = json!({"revisions": [{
        "name": "m29990101_000001_one", "message": "add one",
        "up": [{"sql": "CREATE TABLE one (id {uuid})"}], "down": [{"sql": "DROP TABLE one"}],
    }]});
    let migrator = Migrator::new(&database, &revisions);
    let before = (catalog(&database).await, names(&database).await);
    let dry = migrator.ok(&["up", "--dry-run"]).await;
    let kind = match engine {
        Engine::Sqlite => "uuid_text",
        Engine::Postgres => "uuid",
    };
    assert!(
        dry.contains(&format!("CREATE TABLE one (id {kind})")) && dry.contains("add one"),
        "{dry}"
    );
    assert!(!dry.contains("DROP TABLE"), "{dry}");
    assert_eq!((catalog(&database).await, names(&database).await), before);
}

async fn two_heads_are_refused(engine: Engine) {
    let database = migrated(engine).await;
    let parent = head();
    let revisions = json!({"revisions": [
        {"name": "m29990101_000001_one", "parent": parent},
        {"name": "m29990101_000002_other", "parent": parent},
    ]});
    let migrator = Migrator::new(&database, &revisions);
    let heads = migrator.run(&["heads"]).await;
    assert_eq!(heads.output, "m29990101_000001_one (head)\nm29990101_000002_other (head)\n");
    for verb in ["heads", "up", "status"] {
        let errors = migrator.fails(&[verb], 6).await;
        assert!(
            errors.contains("two heads") && errors.contains("000002_other"),
            "{verb}: {errors}"
        );
    }
}

/// With no database yet, with one at base and with one at head. SQLite's file isn't made by it.
async fn a_target_that_does_not_exist_is_refused(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let migrator = Migrator::new(&database, &json!({}));
    let refuses = async |cases: &[(&[&str], &str)]| {
        for (arguments, says) in cases {
            let errors = migrator.fails(arguments, 6).await;
            assert!(errors.contains(says), "{arguments:?}: {errors}");
        }
    };
    let not_below_base: &[(&[&str], &str)] = &[
        (&["down", "nonsense"], "there is no revision nonsense"),
        (&["down", "-1x"], "there is no revision -1x"),
        (&["down", "head"], "head is no way down from base"),
        (&["down", "+1"], "+1 is no way down from base"),
        (&["down", "-1"], "-1 from base is beyond base, which is 0 revisions away"),
        (&["up", "+99"], "beyond head"),
        (&["stamp", "+99"], "beyond head"),
    ];
    refuses(not_below_base).await;
    assert_eq!(migrator.ok(&["down", "--yes"]).await, "nothing to revert\n");
    migrator.ok(&["up", "+1"]).await;
    migrator.ok(&["down", "--yes", "--allow-data-loss"]).await;
    refuses(not_below_base).await;
    migrator.ok(&["up"]).await;
    let count = known_revisions().len();
    let (too_far, away) =
        (format!("-{}", count + 1), format!("is beyond base, which is {count} revisions away"));
    refuses(&[
        (&["up", "+1"], "is beyond head, which is 0 revisions away"),
        (&["down", &too_far, "--yes"], &away),
        (&["down", "+1"], &format!("+1 is no way down from {}", head())),
        (&["sql", "m20261121_000004:-5"], "is beyond base, which is 4 revisions away"),
    ])
    .await;
    assert_eq!(names(&database).await.len(), known_revisions().len());
}

/// The reader of a pipe may leave, as `head` does: what is printed is lost, and the work goes on.
async fn a_closed_pipe_stops_no_migration(engine: Engine) {
    let database = Database::create(engine, Origin::Empty).await;
    let migrator = Migrator::new(&database, &json!({}));
    for arguments in [&["sql"][..], &["up"]] {
        let mut child = migrator.spawn(arguments);
        drop(child.stdout.take());
        let finished = finished(child).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        assert!(!finished.errors.contains("panicked"), "{arguments:?}: {finished:?}");
    }
    assert_eq!(names(&database).await.len(), known_revisions().len());
}

/// A disk that is full is another thing than a reader that left.
#[tokio::test]
async fn output_that_can_not_be_written_is_an_error() {
    let database = Database::create(Engine::Sqlite, Origin::Empty).await;
    let migrator = Migrator::new(&database, &json!({}));
    let full = std::fs::File::create("/dev/full").expect("a full device");
    let child = migrator.command(&["sql"]).stdout(full).spawn().expect("the program starts");
    let finished = finished(child).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.errors.contains("standard output can't be written"), "{finished:?}");
}

/// What can't be meant is refused before anything is opened or written.
#[tokio::test]
async fn a_command_line_that_can_not_be_meant_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = include_str!("../../../migration/src/revisions/mod.rs");
    std::fs::write(folder.path().join("mod.rs"), list).expect("the list");
    let path = folder.path().to_string_lossy().into_owned();
    let new = ["migrate", "new", "--empty", "--folder", &path, "-m"];
    for (arguments, says) in [
        ([&new[..], &["x", "--rename", "a.b:a.c"]].concat(), "--rename"),
        ([&new[..], &["x", "--fill", "a.b=1"]].concat(), "--fill"),
        ([&new[..], &["x", "--drop", "a"]].concat(), "--drop"),
        ([&new[..], &["x", "--yes"]].concat(), "--yes"),
        ([&new[..], &["x", "--from-drift"]].concat(), "--from-drift"),
        ([&new[..], &["two\nlines"]].concat(), "one line without control characters, not \\n"),
        ([&new[..], &["two\rlines"]].concat(), "one line without control characters, not \\r"),
        ([&new[..], &["turned \u{202e}text"]].concat(), "control characters, not \\u{202e}"),
        (vec!["migrate", "repair", "m20261121_000003", "--reason", ""], "--reason"),
        (vec!["migrate", "repair", "m20261121_000003", "--reason", " "], "it is blank"),
    ] {
        let finished = run(&arguments, &[]).await;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.errors.contains(says), "{arguments:?}: {finished:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[tokio::test]
async fn help_fits_one_screen() {
    let help = run(&["migrate", "--help"], &[]).await;
    assert_eq!(help.code, Some(0), "{help:?}");
    let lines = help.output.lines().count();
    assert!((20..=50).contains(&lines), "{lines} lines:\n{}", help.output);
    for verb in [
        "up", "down", "current", "heads", "history", "show", "status", "new", "sql", "stamp",
        "repair",
    ] {
        assert!(help.output.contains(&format!("\n  {verb} ")), "{verb}:\n{}", help.output);
    }
    // Settings are accepted although help doesn't list them.
    let output = run(&["migrate", "--log-level", "warn", "sql", "--engine", "sqlite"], &[]).await;
    assert!(output.output.contains("CREATE TABLE"), "{output:?}");
}

/// The new file is listed, and the source compiles with it. The trial `checklist` uses it too.
#[tokio::test]
async fn migrate_new_writes_a_file_and_two_index_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = include_str!("../../../migration/src/revisions/mod.rs");
    std::fs::write(folder.path().join("mod.rs"), list).expect("the list");
    let path = folder.path().to_string_lossy().into_owned();
    let new = ["migrate", "new", "--empty", "-m", "Add a subtitle", "--folder", &path];
    let written = run(&new, &[]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    let file = written.output.trim().rsplit('/').next().expect("a file").to_owned();
    let name = file.strip_suffix(".rs").expect("a file of Rust");
    assert!(name.starts_with("m20") && name.ends_with("_add_a_subtitle"), "{name}");
    let lines = std::fs::read_to_string(folder.path().join("mod.rs")).expect("the list");
    assert!(lines.contains(&format!("mod {name};\n")), "{lines}");
    assert!(lines.contains(&format!("        {name}::revision(),\n    ]")), "{lines}");
    let text = std::fs::read_to_string(folder.path().join(&file)).expect("the file");
    let after = format!(".after(\"{}\")", head());
    assert!(text.contains(&after) && text.contains("\"Add a subtitle\""), "{text}");
}

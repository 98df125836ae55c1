//! `migrate new` as its user runs it: what it writes runs, and where there is nothing to do, or an
//! answer is missing or wrong, it writes nothing.

use std::{fs, path::Path};

use bookstore_tests::{
    Database, Engine, Finished, Origin, REVISIONS, Row, catalog, known_revisions, on_every_engine,
    run, written,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::migrated;

on_every_engine!(
    new_on_an_unchanged_head_writes_nothing,
    new_refuses_drift_that_no_step_repairs,
    new_writes_what_the_entities_are_ahead_by,
);

/// A folder of revisions, with the list that a new one is added to.
pub(super) fn folder(newest: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let list = format!("mod {newest};\n\nvec![\n        {newest}::revision(),\n    ]\n");
    fs::write(folder.path().join("mod.rs"), list).expect("a list");
    folder
}

/// What `new` says for a database.
pub(super) async fn new(
    url: &str,
    revisions: Option<&Path>,
    folder: &TempDir,
    more: &[&str],
) -> Finished {
    let path = folder.path().to_str().expect("a path");
    let arguments = ["migrate", "new", "--json", "-m", "a test's", "--folder", path];
    let mut settings = vec![("DATABASE_URL", url)];
    settings.extend(revisions.map(|file| (REVISIONS, file.to_str().expect("a path"))));
    run(&[&arguments[..], more].concat(), &settings).await
}

/// The files of a folder beside its list.
pub(super) fn files(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "mod.rs").collect()
}

pub(super) fn head() -> String {
    known_revisions().pop().expect("a head")
}

/// The entities are tried on both engines, so PostgreSQL has to be there; drift is of one.
async fn new_on_an_unchanged_head_writes_nothing(engine: Engine) {
    let database = migrated(engine).await;
    let folder = folder(&head());
    let url = database.owner_url();
    let finished = new(&url, None, &folder, &["--from-drift"]).await;
    assert_eq!(finished.code, Some(8), "{finished:?}");
    let finished = new(&url, None, &folder, &["--yes"]).await;
    match engine {
        Engine::Postgres => {
            assert_eq!(finished.code, Some(8), "{finished:?}");
            let said: Value = serde_json::from_str(&finished.output).expect("JSON");
            assert_eq!(said, json!({"revision": null, "file": null}));
        }
        Engine::Sqlite => {
            assert_eq!(finished.code, Some(1), "{finished:?}");
            assert!(finished.errors.contains("PostgreSQL"), "{finished:?}");
        }
    }
    assert_eq!(files(&folder), Vec::<String>::new());
}

/// A revision that doesn't make the drift again, or doesn't mend it, is not shown.
async fn new_refuses_drift_that_no_step_repairs(engine: Engine) {
    let database = migrated(engine).await;
    let (alone, object) = match engine {
        Engine::Postgres => {
            ("CREATE COLLATION \"german\" (provider = icu, locale = 'de')", "german")
        }
        Engine::Sqlite => ("CREATE VIRTUAL TABLE \"notes\" USING fts5 (\"text\")", "notes"),
    };
    database.sql(alone).await;
    let folder = folder(&head());
    if engine == Engine::Postgres {
        let finished = new(&database.owner_url(), None, &folder, &["--from-drift"]).await;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.errors.contains(object), "{finished:?}");
        database.sql("DROP INDEX \"posts_title_id_idx\"").await;
        let finished = new(&database.owner_url(), None, &folder, &["--from-drift"]).await;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let says = ["was not written", object];
        assert!(says.iter().all(|word| finished.errors.contains(word)), "{finished:?}");
    } else {
        // Rows of a plain table may be lost; that is said, and the file written.
        let finished = new(&database.owner_url(), None, &folder, &["--from-drift"]).await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let file = files(&folder).pop().expect("a file");
        let text = fs::read_to_string(folder.path().join(file)).expect("a revision");
        assert!(text.contains("// Data loss: notes with its rows."), "{text}");
        return;
    }
    assert_eq!(files(&folder), Vec::<String>::new());
    let list = fs::read_to_string(folder.path().join("mod.rs")).expect("the list");
    assert_eq!(list.matches("mod ").count(), 1, "{list}");
}

/// A program that lacks the last revisions has entities that are ahead of it: `new` writes what
/// they are ahead by, and then there is nothing to do.
async fn new_writes_what_the_entities_are_ahead_by(engine: Engine) {
    let known = known_revisions();
    let keys = known.iter().position(|name| name.ends_with("create_idempotency_keys"));
    let (kept, hidden) = known.split_at(keys.expect("the revision of a table"));
    let place = Database::create(Engine::Postgres, Origin::Empty).await;
    let folder = folder(&kept[kept.len() - 1]);
    let file = folder.path().join("revisions.json");
    let play = |revisions: Vec<Value>| {
        let text = json!({"hide": hidden.len(), "revisions": revisions}).to_string();
        fs::write(&file, text).expect("the revisions");
    };
    play(Vec::new());
    // It is tried in a database that it changes nothing of.
    let finished = new(&place.owner_url(), Some(&file), &folder, &[]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said: Value = serde_json::from_str(&finished.output).expect("JSON");
    let path = said["file"].as_str().expect("a file");
    let text = fs::read_to_string(path).expect("a revision");
    assert!(text.contains(&format!(".after({:?})", kept[kept.len() - 1])), "{text}");
    assert!(text.contains("// Data loss: idempotency_keys with its rows."), "{text}");
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON \"idempotency_keys\" TO bookstore_app";
    assert!(text.contains(grant) && !text.contains("TO bookstore_reader"), "{text}");
    let list = fs::read_to_string(folder.path().join("mod.rs")).expect("the list");
    assert_eq!(list.matches("a_test_s").count(), 2, "{list}");

    let database = Database::create(engine, Origin::Empty).await;
    let url = database.owner_url();
    let migrate = async |arguments: &[&str]| -> Finished {
        let settings =
            [("DATABASE_URL", url.as_str()), (REVISIONS, file.to_str().expect("a path"))];
        let finished = run(&[&["migrate"], arguments].concat(), &settings).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        finished
    };
    migrate(&["up"]).await;
    let before = schema(&database).await;
    play(vec![written(&text)]);
    migrate(&["up"]).await;
    migrate(&["check"]).await;
    if engine == Engine::Postgres {
        let finished = new(&url, Some(&file), &folder, &[]).await;
        assert_eq!(finished.code, Some(8), "{finished:?}");
    }
    migrate(&["down", "--yes", "--allow-data-loss"]).await;
    assert_eq!(schema(&database).await, before);
}

/// The schema without the bookkeeping.
async fn schema(database: &Database) -> Vec<Row> {
    let mut rows = catalog(database).await;
    rows.retain(|row| !format!("{row:?}").contains("migrations"));
    rows
}

/// A table that is defined anew without a column loses it, as one does that drops it.
#[tokio::test]
async fn down_counts_columns_that_a_rebuild_leaves_out() {
    let database = migrated(Engine::Sqlite).await;
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'categories'";
    let table = database.value(sql).await;
    let revision = json!({"revisions": [{
        "name": "m29990101_000001_note",
        "up": [{"sqlite": "ALTER TABLE \"categories\" ADD COLUMN \"note\" text DEFAULT 'kept'"}],
        "down": [{"rebuild": {"table": "categories", "changes": [["define", table]]}}],
    }]});
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("revisions.json");
    fs::write(&file, revision.to_string()).expect("the revisions");
    let url = database.owner_url();
    let settings = [("DATABASE_URL", url.as_str()), (REVISIONS, file.to_str().expect("a path"))];
    let up = run(&["migrate", "up"], &settings).await;
    assert_eq!(up.code, Some(0), "{up:?}");
    let refused = run(&["migrate", "down", "--yes"], &settings).await;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.errors.contains("column categories.note (5 rows)"), "{refused:?}");
    assert_eq!(database.value("SELECT count(\"note\") FROM \"categories\"").await, "5");
    let allowed = run(&["migrate", "down", "--yes", "--allow-data-loss"], &settings).await;
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
    assert_eq!(database.value("SELECT count(*) FROM \"categories\"").await, "5");
}

/// Answers about what there isn't are errors that name it: in silence they would change nothing.
#[tokio::test]
async fn new_refuses_answers_about_unknown_names() {
    let database = migrated(Engine::Postgres).await;
    let folder = folder(&head());
    for (answer, value, says) in [
        ("--rename", "posts.nothing:posts.content", "there is no column posts.nothing"),
        ("--rename", "posts.content:posts.nothing", "there is to be no column posts.nothing"),
        ("--rename", "nothing:posts", "there is no table nothing"),
        ("--rename", "posts.content:users.bio", "a column stays in its table"),
        ("--rename", "posts.nothing:", "there is no column posts.nothing"),
        ("--rename", "nothing:", "there is no table nothing"),
        ("--rename", "posts", "expected TABLE.OLD:TABLE.NEW"),
        ("--fill", "posts.nothing=1", "there is to be no column posts.nothing"),
        ("--fill", "posts", "expected TABLE.COLUMN=EXPRESSION"),
    ] {
        let finished = new(&database.owner_url(), None, &folder, &[answer, value]).await;
        assert_eq!(finished.code, Some(1), "{answer} {value}: {finished:?}");
        assert!(finished.errors.contains(says), "{answer} {value}: {finished:?}");
    }
    assert_eq!(files(&folder), Vec::<String>::new());
}

//! `migrate check` on both engines: it finds every kind of drift, and reports no other spelling as
//! drift. And the running service's reaction to drift.

mod cases;
mod generate;
mod new;
mod renames;
mod service;
mod snapshot;
mod values;

use bookstore_tests::{Database, Engine, Finished, Origin, on_every_engine, run};
use serde_json::Value;

on_every_engine!(
    check_of_an_unchanged_head_finds_nothing,
    check_that_fails_exits_with_another_code_than_drift,
    drift_findings_have_their_json_fields,
    check_reports_pending_and_unknown_revisions,
);

/// The output of `check`, and its exit code.
async fn check(url: &str, arguments: &[&str]) -> Finished {
    let arguments = [&["migrate", "check"], arguments].concat();
    run(&arguments, &[("DATABASE_URL", url)]).await
}

/// The findings of `check --json`, and the exit code.
async fn findings(url: &str, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let finished = check(url, &[&["--json"], arguments].concat()).await;
    let list: Value = serde_json::from_str(&finished.output)
        .unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    (finished.code, list.as_array().expect("a list").clone())
}

/// A database at head.
async fn migrated(engine: Engine) -> Database {
    let database = Database::create(engine, Origin::Migrated).await;
    if engine == Engine::Sqlite {
        let up = run(&["migrate", "up"], &[("DATABASE_URL", &database.owner_url())]).await;
        assert_eq!(up.code, Some(0), "{up:?}");
    }
    database
}

async fn check_of_an_unchanged_head_finds_nothing(engine: Engine) {
    let database = migrated(engine).await;
    assert_eq!(findings(&database.owner_url(), &[]).await, (Some(0), Vec::new()));
    let checked = check(&database.owner_url(), &[]).await;
    assert!(checked.output.contains("compared by replay"), "{checked:?}");
    if engine == Engine::Postgres {
        let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'bookstore_scratch%'";
        assert_eq!(database.value(left).await, "0", "schemas left by a check");
    }
}

async fn check_that_fails_exits_with_another_code_than_drift(engine: Engine) {
    let url = match engine {
        Engine::Postgres => "postgres://user@127.0.0.1:9/nothing".to_owned(),
        Engine::Sqlite => "sqlite:///nowhere/at/all.db".to_owned(),
    };
    let finished = check(&url, &["--json"]).await;
    assert_eq!(finished.code, Some(9), "{finished:?}");
    assert!(!finished.errors.is_empty(), "{finished:?}");
}

async fn drift_findings_have_their_json_fields(engine: Engine) {
    let database = migrated(engine).await;
    database.sql("DROP INDEX \"posts_title_id_idx\"").await;
    database
        .sql("CREATE TABLE \"shelves\" (\"id\" integer); INSERT INTO \"shelves\" VALUES (1)")
        .await;
    if engine == Engine::Postgres {
        // Rows are only counted where the role may read them.
        database.sql("GRANT SELECT ON \"shelves\" TO bookstore_owner").await;
    }
    let (code, list) = findings(&database.owner_url(), &[]).await;
    assert_eq!(code, Some(1));
    let [index, table] = list.as_slice() else { panic!("two findings: {list:#?}") };
    assert_eq!(index["kind"], "index.removed");
    assert_eq!(index["object"], "posts_title_id_idx");
    assert_eq!(index["table"], "posts");
    assert_eq!(index["level"], "error");
    assert!(index["expected"].as_str().is_some_and(|text| text.contains("title")), "{index}");
    assert_eq!(index["found"], Value::Null);
    assert_eq!((&index["repair"], &index["repair_loses"]), (&"yes".into(), &"no".into()));
    assert_eq!(table["kind"], "table.added");
    assert_eq!(table["along"], serde_json::json!(["shelves.id"]));
    assert_eq!((&table["repair"], &table["repair_loses"]), (&"yes".into(), &"yes".into()));
}

/// A check fails with pending revisions, but not with those of a newer program, whose schema it
/// doesn't know.
async fn check_reports_pending_and_unknown_revisions(engine: Engine) {
    let database = migrated(engine).await;
    let newer =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000001_newer', 0)";
    database.sql(newer).await;
    database.sql("ALTER TABLE \"posts\" ADD COLUMN \"slug\" text").await;
    let (code, list) = findings(&database.owner_url(), &[]).await;
    let kinds: Vec<&str> = list.iter().filter_map(|finding| finding["kind"].as_str()).collect();
    assert_eq!((code, kinds), (Some(0), vec!["column.added", "revision.unknown"]));
    let empty = Database::create(engine, Origin::Empty).await;
    if let Database::Sqlite(file) = &empty {
        std::fs::File::create(file.path()).expect("an empty file");
    }
    // A table of another program.
    empty.sql("CREATE TABLE \"other\" (\"id\" integer)").await;
    let checked = check(&empty.owner_url(), &[]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.output.contains("no schema was compared"), "{checked:?}");
    assert!(!checked.output.contains("compared by"), "{checked:?}");
    let (code, list) = findings(&empty.owner_url(), &[]).await;
    assert_eq!((code, list.len()), (Some(1), bookstore_tests::known_revisions().len()));
    assert!(list.iter().all(|finding| finding["kind"] == "revision.pending"), "{list:#?}");
}

//! `migrate check`: every kind of drift is found, no other spelling is one, on both engines; and
//! what the running service makes of it.

mod cases;
mod generate;
mod new;
mod service;
mod snapshot;

use bookstore_tests::{Database, Engine, Finished, Origin, on_every_engine, run};
use serde_json::Value;

on_every_engine!(
    an_untouched_head_is_silent,
    a_check_that_fails_is_no_drift,
    findings_have_a_form,
    other_revisions_are_told,
);

/// What `check` prints, and its code.
async fn check(url: &str, arguments: &[&str]) -> Finished {
    let arguments = [&["migrate", "check"], arguments].concat();
    run(&arguments, &[("DATABASE_URL", url)]).await
}

/// The findings of `check --json`, and its code.
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

async fn an_untouched_head_is_silent(engine: Engine) {
    let database = migrated(engine).await;
    assert_eq!(findings(&database.owner_url(), &[]).await, (Some(0), Vec::new()));
    let told = check(&database.owner_url(), &[]).await;
    assert!(told.output.contains("compared by replay"), "{told:?}");
    if engine == Engine::Postgres {
        let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'bookstore_scratch%'";
        assert_eq!(database.value(left).await, "0", "schemas that a check has left");
    }
}

async fn a_check_that_fails_is_no_drift(engine: Engine) {
    let url = match engine {
        Engine::Postgres => "postgres://nobody@127.0.0.1:9/nothing".to_owned(),
        Engine::Sqlite => "sqlite:///nowhere/at/all.db".to_owned(),
    };
    let finished = check(&url, &["--json"]).await;
    assert_eq!(finished.code, Some(9), "{finished:?}");
    assert!(!finished.errors.is_empty(), "{finished:?}");
}

async fn findings_have_a_form(engine: Engine) {
    let database = migrated(engine).await;
    database.sql("DROP INDEX \"posts_title_id_idx\"").await;
    database
        .sql("CREATE TABLE \"shelves\" (\"id\" integer); INSERT INTO \"shelves\" VALUES (1)")
        .await;
    if engine == Engine::Postgres {
        // Rows are looked for where the role may read them.
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

/// Pending revisions fail a check; those of a newer program, whose schema isn't known, don't.
async fn other_revisions_are_told(engine: Engine) {
    let database = migrated(engine).await;
    let newer =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000001_newer', 0)";
    database.sql(newer).await;
    database.sql("ALTER TABLE \"posts\" ADD COLUMN \"slug\" text").await;
    let (code, list) = findings(&database.owner_url(), &[]).await;
    let kinds: Vec<&str> = list.iter().filter_map(|finding| finding["kind"].as_str()).collect();
    assert_eq!((code, kinds), (Some(0), vec!["column.added", "revision.unknown"]));
    let empty = Database::create(engine, Origin::Empty).await;
    if engine == Engine::Postgres {
        let (code, list) = findings(&empty.owner_url(), &[]).await;
        assert_eq!((code, list.len()), (Some(1), bookstore_tests::known_revisions().len()));
        assert!(list.iter().all(|finding| finding["kind"] == "revision.pending"), "{list:#?}");
    }
}

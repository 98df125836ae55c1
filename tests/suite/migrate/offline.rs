//! `migrate sql`: its script gives the same schema as `up` and `down`.

use std::process::Stdio;

use bookstore_tests::{
    Database, Engine, Origin, Row, catalog, known_revisions, on_every_engine, psql,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{Migrator, migrated, records};

on_every_engine!(
    sql_script_gives_the_schema_of_up,
    sql_script_of_batches_and_rebuilds_gives_the_schema_of_up,
    up_down_up_gives_the_same_sql,
);

/// Runs a script in the engine's shell. The sqlite3 shell may be missing: then the dot commands are
/// left out and the rest runs unchanged.
async fn pipe(database: &Database, script: &str) {
    match database {
        Database::Sqlite(_) => {
            // The file is created by the first change.
            let folder = match database {
                Database::Sqlite(sqlite) => sqlite.path(),
                Database::Postgres(_) => unreachable!("SQLite's"),
            };
            drop(std::fs::File::options().append(true).create(true).open(folder));
            assert!(
                script.starts_with("-- bookstore ") && script.contains("\n.bail on\n"),
                "{script}"
            );
            let lines = script.lines().filter(|line| !line.starts_with('.'));
            database.sql(&lines.collect::<Vec<_>>().join("\n")).await;
        }
        Database::Postgres(_) => {
            let mut shell = Command::new(psql());
            shell.args(["-X", "-q", "-d", &database.owner_url()]).env_clear();
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut shell = shell.kill_on_drop(true).spawn().expect("psql");
            let mut input = shell.stdin.take().expect("its input");
            input.write_all(script.as_bytes()).await.expect("the script");
            drop(input);
            let output = shell.wait_with_output().await.expect("its end");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
        }
    }
}

/// The seeded rows, which the catalog doesn't contain.
async fn seeds(database: &Database) -> Vec<Row> {
    database.sql("SELECT id, name FROM categories ORDER BY id").await
}

async fn gives_the_same(engine: Engine, revisions: &Value) {
    let (by_up, by_script) = (
        Database::create(engine, Origin::Empty).await,
        Database::create(engine, Origin::Empty).await,
    );
    let up = Migrator::new(&by_up, revisions);
    let script = Migrator::new(&by_script, revisions);
    up.ok(&["up"]).await;
    pipe(&by_script, &script.ok(&["sql", "base:head"]).await).await;
    assert_eq!(catalog(&by_script).await, catalog(&by_up).await);
    assert_eq!(records(&by_script).await, records(&by_up).await);
    assert_eq!(seeds(&by_script).await, seeds(&by_up).await);
    assert_eq!(script.ok(&["up"]).await, "nothing to apply\n");
    let after_orders = known_revisions().len() - 9;
    let down = format!("-{after_orders}");
    pipe(&by_script, &script.ok(&["sql", &format!("head:{down}")]).await).await;
    up.ok(&["down", &down, "--yes"]).await;
    assert_eq!(catalog(&by_script).await, catalog(&by_up).await);
    assert_eq!(records(&by_script).await, records(&by_up).await);
    pipe(&by_script, &script.ok(&["sql", "m20261121_000009:head"]).await).await;
    up.ok(&["up"]).await;
    assert_eq!(catalog(&by_script).await, catalog(&by_up).await);
    assert_eq!(records(&by_script).await, records(&by_up).await);
}

async fn sql_script_gives_the_schema_of_up(engine: Engine) {
    gives_the_same(engine, &json!({})).await;
}

/// With steps outside transactions, batches and a rebuilt table.
async fn sql_script_of_batches_and_rebuilds_gives_the_schema_of_up(engine: Engine) {
    let revisions = json!({"hide": 1, "revisions": [{
        "name": "m29990101_000001_one",
        "author": "Somebody's \"name\"",
        "minimum_head": "m20261121_000030_index_words_of_books",
        "up": [
            {"sql": "ALTER TABLE categories ADD COLUMN slug text"},
            {"backfill": {"table": "categories", "set": "slug = lower(name)", "only": "slug IS NULL"}},
            {"postgres": "CREATE INDEX CONCURRENTLY categories_slug_idx ON categories (slug)", "outside": true},
            {"rebuild": {"table": "categories", "changes": [["set not null", "slug"]]}},
        ],
        "down": [
            {"rebuild": {"table": "categories", "changes": [["drop not null", "slug"]]}},
            {"postgres": "DROP INDEX CONCURRENTLY categories_slug_idx", "outside": true},
            {"sql": "SELECT 1"},
            {"sql": "ALTER TABLE categories DROP COLUMN slug", "derived": true},
        ],
    }]});
    gives_the_same(engine, &revisions).await;
}

async fn up_down_up_gives_the_same_sql(engine: Engine) {
    let database = migrated(engine).await;
    let migrator = Migrator::new(&database, &json!({}));
    let first = (catalog(&database).await, records(&database).await);
    migrator.ok(&["down", "base", "--yes", "--allow-data-loss"]).await;
    assert_eq!(records(&database).await, Vec::<Row>::new());
    migrator.ok(&["up"]).await;
    assert_eq!((catalog(&database).await, records(&database).await), first);
    assert!(first.0.len() > 60, "{}", first.0.len());
}

//! A migrator that is killed, frozen, cut off or terminated halfway.

use std::time::{Duration, Instant};

use bookstore_tests::{Database, Engine, Finished, Line, catalog, known_revisions, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

use super::{Migrator, OURS, SOON, finished, hold, is_head, migrated, names, until_sql};

const ONE: &str = "m29990101_000001_one";

/// A revision after the released ones.
fn one(up: &Value, down: &Value) -> Value {
    json!({"revisions": [{"name": ONE, "up": up, "down": down}]})
}

fn pid(child: &Child) -> Pid {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    id.and_then(Pid::from_raw).expect("a running process")
}

async fn kill(mut child: Child) {
    child.start_kill().expect("a signal");
    child.wait().await.expect("its end");
}

/// Waits until the server has no session of a migrator; returns how long that took.
async fn until_gone(database: &Database) -> Duration {
    let began = Instant::now();
    let sql = format!("SELECT 1 FROM pg_stat_activity WHERE {OURS}");
    until("the migrator's sessions end", SOON, async || database.sql(&sql).await.is_empty()).await;
    began.elapsed()
}

fn waits() -> String {
    format!("SELECT 1 FROM pg_stat_activity WHERE {OURS} AND wait_event_type = 'Lock'")
}

/// Without the check the server would keep the dead session's lock request, and every reader would
/// queue behind it.
#[tokio::test]
async fn migrator_killed_waiting_for_a_lock_leaves_no_session() {
    let database = migrated(Engine::Postgres).await;
    let revisions = one(
        &json!([{"postgres": "ALTER TABLE items ADD COLUMN extra text"}]),
        &json!([{"postgres": "ALTER TABLE items DROP COLUMN extra"}]),
    );
    let migrator = Migrator::new(&database, &revisions);
    let holder = hold(&database, "ACCESS SHARE").await;
    // The lock timeout must not be what ends it.
    let child = migrator.spawn(&["up", "--lock-timeout", "60s"]);
    until_sql("the migrator waits", &database, &waits()).await;
    kill(child).await;
    let took = until_gone(&database).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let read = "SET statement_timeout = '5s'; SELECT count(*) FROM items";
    assert_eq!(database.value(read).await, "0", "readers are served while the lock is held");
    drop(holder);
    migrator.ok(&["up"]).await;
    is_head(&database, &revisions).await;
}

#[tokio::test]
async fn migrator_killed_in_a_statement_is_rolled_back() {
    let database = migrated(Engine::Postgres).await;
    let revisions = one(
        &json!([{"postgres": "CREATE TABLE extra (id int); SELECT pg_sleep(3)"}]),
        &json!([{"postgres": "DROP TABLE extra"}]),
    );
    let migrator = Migrator::new(&database, &revisions);
    let before = (catalog(&database).await, names(&database).await);
    let child = migrator.spawn(&["up"]);
    let sleeps = format!("SELECT 1 FROM pg_stat_activity WHERE {OURS} AND wait_event = 'PgSleep'");
    until_sql("the migrator sleeps", &database, &sleeps).await;
    kill(child).await;
    until_gone(&database).await;
    assert_eq!((catalog(&database).await, names(&database).await), before);
    migrator.ok(&["up"]).await;
    is_head(&database, &revisions).await;
}

#[tokio::test]
async fn migrator_killed_during_commit_is_applied_once() {
    let database = migrated(Engine::Postgres).await;
    let revisions = one(
        &json!([{"postgres": "CREATE TABLE extra (id int)"}]),
        &json!([{"postgres": "DROP TABLE extra"}]),
    );
    let line = Line::to_url(database.owner_url()).await;
    // The whole statement: the settings of a session have READ COMMITTED.
    line.cut_at(b"COMMIT\0");
    let through = Migrator::at(line.url().to_owned(), &revisions);
    let child = through.spawn(&["up"]);
    line.is_cut().await;
    kill(child).await;
    until_gone(&database).await;
    let again = Migrator::new(&database, &revisions).ok(&["up"]).await;
    assert_eq!(again, "nothing to apply\n");
    is_head(&database, &revisions).await;
}

/// The same without a kill: the migrator checks the state in a new session.
#[tokio::test]
async fn migrator_cut_off_from_the_server_reports_the_state() {
    let database = migrated(Engine::Postgres).await;
    let revisions = one(&json!([{"postgres": "SELECT pg_sleep(60)"}]), &json!([]));
    let migrator = Migrator::new(&database, &revisions);
    let child = migrator.spawn(&["up"]);
    let sleeps = format!("SELECT 1 FROM pg_stat_activity WHERE {OURS} AND wait_event = 'PgSleep'");
    until_sql("the migrator sleeps", &database, &sleeps).await;
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS} AND wait_event = 'PgSleep'"
    );
    database.sql(&end).await;
    let Finished { code, errors, .. } = finished(child).await;
    assert_eq!(code, Some(7), "{errors}");
    let applied = format!("was rolled back, {} revisions are applied", known_revisions().len());
    let expected = ["terminating connection", &applied, "run it again"];
    assert!(expected.iter().all(|part| errors.contains(part)), "{errors}");
    until_gone(&database).await;
    let next = one(
        &json!([{"postgres": "CREATE TABLE extra (id int)"}]),
        &json!([{"postgres": "DROP TABLE extra"}]),
    );
    Migrator::new(&database, &next).ok(&["up"]).await;
    is_head(&database, &next).await;
}

fn concurrently() -> Value {
    one(
        &json!([{
            "postgres": "CREATE INDEX CONCURRENTLY items_extra_idx ON items (status, name)",
            "outside": true,
        }]),
        &json!([{"postgres": "DROP INDEX CONCURRENTLY items_extra_idx", "outside": true}]),
    )
}

#[tokio::test]
async fn index_left_by_a_killed_migrator_is_rebuilt() {
    let database = migrated(Engine::Postgres).await;
    let revisions = concurrently();
    let migrator = Migrator::new(&database, &revisions);
    let holder = hold(&database, "ROW EXCLUSIVE").await;
    let child = migrator.spawn(&["up"]);
    let begun = "SELECT 1 FROM pg_index WHERE NOT indisvalid";
    until_sql("the index is begun", &database, begun).await;
    let session = format!("SELECT pid::text FROM pg_stat_activity WHERE {OURS}");
    let killed = database.value(&session).await;
    kill(child).await;
    let next = migrator.spawn(&["up"]);
    let began = "SELECT 1 FROM bookstore_migration_steps WHERE state = 'STARTED'";
    assert!(!database.sql(began).await.is_empty(), "the begun step is recorded");
    // The migration lock keeps the next one waiting until the killed one's session has ended.
    let next_waits = format!("{} AND pid <> {killed}", waits());
    until_sql("the next migrator waits for the table", &database, &next_waits).await;
    drop(holder);
    let next = finished(next).await;
    assert_eq!(next.code, Some(0), "{next:?}");
    assert!(next.errors.contains("dropped the invalid index items_extra_idx"), "{next:?}");
    assert_eq!(next.output, format!("applied {ONE}\n"));
    assert_eq!(database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await, "0");
    is_head(&database, &revisions).await;
}

/// The server drops the index, and the migrator is killed before it can record that.
#[tokio::test]
async fn index_dropped_by_a_killed_down_is_built_again_by_up() {
    let database = migrated(Engine::Postgres).await;
    let revisions = concurrently();
    let migrator = Migrator::new(&database, &revisions);
    migrator.ok(&["up"]).await;
    let line = Line::to_url(database.owner_url()).await;
    line.freeze_at(b"DROP INDEX CONCURRENTLY");
    let through = Migrator::at(line.url().to_owned(), &revisions);
    let child = through.spawn(&["down", "--yes"]);
    let gone = "SELECT 1 WHERE to_regclass('items_extra_idx') IS NULL";
    until_sql("the index is gone", &database, gone).await;
    kill(child).await;
    line.cut();
    until_gone(&database).await;
    let next = migrator.run(&["up"]).await;
    assert_eq!((next.code, next.output), (Some(0), format!("applied {ONE}\n")), "{}", next.errors);
    is_head(&database, &revisions).await;
}

/// A session that builds an index of that name by hand continues.
#[tokio::test]
async fn index_that_another_session_builds_is_not_dropped() {
    let database = migrated(Engine::Postgres).await;
    let migrator = Migrator::new(&database, &concurrently());
    let holder = hold(&database, "ROW EXCLUSIVE").await;
    let Database::Postgres(postgres) = &database else { panic!("PostgreSQL's") };
    let mut other = postgres.connect().await;
    let build = tokio::spawn(async move {
        let sql = "CREATE INDEX CONCURRENTLY items_extra_idx ON items (status, name)";
        sqlx::raw_sql(sql).execute(&mut other).await.map(drop)
    });
    until_sql("the index is begun", &database, "SELECT 1 FROM pg_index WHERE NOT indisvalid").await;
    let errors = migrator.fails(&["up", "--lock-wait", "1s"], 1).await;
    assert!(errors.contains("another session is building index items_extra_idx"), "{errors}");
    drop(holder);
    build.await.expect("a task").expect("the other session's index is complete");
}

#[tokio::test]
async fn frozen_migrator_is_named_to_those_waiting() {
    let database = migrated(Engine::Postgres).await;
    let revisions = one(
        &json!([{"postgres": "CREATE TABLE extra (id int); SELECT pg_sleep(2)"}]),
        &json!([{"postgres": "DROP TABLE extra"}]),
    );
    let migrator = Migrator::new(&database, &revisions);
    let first = migrator.spawn(&["up"]);
    let sleeps = format!("SELECT 1 FROM pg_stat_activity WHERE {OURS} AND wait_event = 'PgSleep'");
    until_sql("the migrator sleeps", &database, &sleeps).await;
    let id = pid(&first);
    kill_process(id, Signal::STOP).expect("a signal");
    let wait = ["up", "--lock-wait", "1s"];
    let (one, other) = tokio::join!(migrator.run(&wait), migrator.run(&wait));
    for waited in [one, other] {
        assert_eq!(waited.code, Some(3), "{waited:?}");
        let named = format!("process {} on ", id.as_raw_nonzero());
        let expected = [&*named, " since 2", &*format!("at {ONE}"), "PostgreSQL's process"];
        assert!(expected.iter().all(|part| waited.errors.contains(part)), "{waited:?}");
    }
    kill_process(id, Signal::CONT).expect("a signal");
    let first = finished(first).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    is_head(&database, &revisions).await;
}

fn rebuilt() -> Value {
    one(
        &json!([{"rebuild": {"table": "items", "changes": [["add column", "\"extra\" text NOT NULL DEFAULT ''", "upper(\"name\")"]]}}]),
        &json!([{"rebuild": {"table": "items", "changes": [["drop column", "extra"]]}}]),
    )
}

const MANY: &str = "INSERT INTO items (id, name, status) \
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
    SELECT randomblob(16), 'name ' || i, 'NEW' FROM n";

#[tokio::test]
async fn migrator_killed_in_a_rebuild_leaves_the_old_table() {
    let database = migrated(Engine::Sqlite).await;
    let Database::Sqlite(sqlite) = &database else { panic!("SQLite's") };
    database.sql(MANY).await;
    database.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let before = catalog(&database).await;
    let revisions = rebuilt();
    let migrator = Migrator::new(&database, &revisions);
    let lock = sqlite.folder().join("bookstore.db-migrate.lock");
    let child = migrator.spawn(&["up"]);
    let wal = sqlite.folder().join("bookstore.db-wal");
    until("rows are copied", SOON, async || {
        std::fs::metadata(&wal).is_ok_and(|wal| wal.len() > 1 << 20)
    })
    .await;
    let named = std::fs::read_to_string(&lock).expect("the lock's file");
    assert!(named.contains(&format!("process {}", pid(&child).as_raw_nonzero())), "{named}");
    assert!(named.contains(ONE), "{named}");
    kill(child).await;
    assert_eq!(catalog(&database).await, before);
    assert_eq!(database.value("SELECT count(*) FROM items").await, "100000");
    assert_eq!(database.value("PRAGMA integrity_check").await, "ok");
    migrator.ok(&["up"]).await;
    assert_eq!(
        database.value("SELECT count(*) FROM items WHERE extra = upper(name)").await,
        "100000"
    );
    assert!(!lock.exists(), "the lock file is removed with its holder");
    is_head(&database, &revisions).await;
}

/// A file size limit acts like a full disk.
#[tokio::test]
async fn rebuild_on_a_full_disk_leaves_the_old_table() {
    let database = migrated(Engine::Sqlite).await;
    database.sql(MANY).await;
    database.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let before = catalog(&database).await;
    let revisions = rebuilt();
    let migrator = Migrator::new(&database, &revisions);
    let Database::Sqlite(sqlite) = &database else { panic!("SQLite's") };
    let most = std::fs::metadata(sqlite.path()).expect("the file").len() / 512 / 8;
    let migrate = migrator.command(&["up"]);
    let mut limited = tokio::process::Command::new("sh");
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {most}; exec \"$0\" \"$@\"")]);
    limited.arg(migrate.as_std().get_program()).args(migrate.as_std().get_args()).env_clear();
    limited.envs(migrate.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let full = finished(limited.spawn().expect("a shell")).await;
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.errors.contains("rebuild items"), "{full:?}");
    let says = ["full", "I/O"].iter().any(|part| full.errors.contains(part));
    assert!(says && full.errors.contains("rolled back"), "{full:?}");
    assert_eq!(database.value("PRAGMA integrity_check").await, "ok");
    assert_eq!(catalog(&database).await, before);
    assert_eq!(database.value("SELECT count(*) FROM items").await, "100000");
    migrator.ok(&["up"]).await;
    is_head(&database, &revisions).await;
}

//! Locks of tables that migrations wait for, and the settings of their session.

use bookstore_tests::Engine;
use serde_json::{Value, json};

use super::{Migrator, OURS, finished, hold, is_head, migrated, names, until_sql};

const ONE: &str = "m29990101_000001_one";

fn one(up: &Value, down: &Value) -> Value {
    json!({"revisions": [{"name": ONE, "up": up, "down": down}]})
}

fn column() -> Value {
    one(
        &json!([{"postgres": "ALTER TABLE items ADD COLUMN extra text"}]),
        &json!([{"postgres": "ALTER TABLE items DROP COLUMN extra"}]),
    )
}

/// Defaults of the role or the database would cut a long step, or change what a text means.
#[tokio::test]
async fn session_settings_are_forced() {
    let database = migrated(Engine::Postgres).await;
    let forced = [
        ("client_connection_check_interval", "0", "500"),
        ("default_transaction_isolation", "serializable", "read committed"),
        ("idle_in_transaction_session_timeout", "1000", "0"),
        ("lock_timeout", "0", "3000"),
        ("search_path", "elsewhere", "public"),
        ("statement_timeout", "1000", "0"),
        ("TimeZone", "Asia/Tokyo", "UTC"),
    ];
    let name = database.value("SELECT current_database()").await;
    for (setting, hostile, _) in forced {
        let role = format!("ALTER ROLE bookstore_owner IN DATABASE \"{name}\"");
        database.sql(&format!("{role} SET {setting} = '{hostile}'")).await;
    }
    let settings: Vec<String> = forced.iter().map(|(name, ..)| format!("'{name}'")).collect();
    let seen = format!(
        "CREATE TABLE seen AS SELECT name, setting FROM pg_settings WHERE name IN ({})",
        settings.join(", ")
    );
    // Longer than the role's own limit of a statement.
    let revisions = one(
        &json!([{"postgres": seen}, {"postgres": "SELECT pg_sleep(1.5)"}]),
        &json!([{"postgres": "SELECT 1"}, {"postgres": "DROP TABLE seen", "derived": true}]),
    );
    Migrator::new(&database, &revisions).ok(&["up"]).await;
    for (setting, _, expected) in forced {
        let sql = format!("SELECT setting FROM public.seen WHERE name = '{setting}'");
        assert_eq!(database.value(&sql).await, expected, "{setting}");
    }
}

#[tokio::test]
async fn table_lock_timeout_is_retried() {
    let database = migrated(Engine::Postgres).await;
    let revisions = column();
    let migrator = Migrator::new(&database, &revisions);
    let before = names(&database).await;
    let holder = hold(&database, "ACCESS SHARE").await;
    let few = ["up", "--lock-timeout", "100ms", "--lock-tries", "2"];
    let output = migrator.fails(&few, 1).await;
    assert!(output.contains("rolled back, 2 times, since a lock didn't come"), "{output}");
    assert_eq!(names(&database).await, before);
    let child = migrator.spawn(&["up", "--lock-timeout", "100ms", "--lock-tries", "1000"]);
    // A try of the lock that began after another one had failed.
    let again = format!(
        "SELECT 1 FROM pg_stat_activity WHERE {OURS} AND wait_event_type = 'Lock' \
         AND query_start > backend_start + interval '1 second'"
    );
    until_sql("the lock is tried again", &database, &again).await;
    drop(holder);
    let finished = finished(child).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.errors.contains("a lock didn't come, try 1 of 1000"), "{finished:?}");
    is_head(&database, &revisions).await;
}

#[tokio::test]
async fn long_step_reports_elapsed_time_and_blockers() {
    let database = migrated(Engine::Postgres).await;
    let migrator = Migrator::new(&database, &column());
    let holder = hold(&database, "ACCESS SHARE").await;
    let child = migrator.spawn(&["up", "--lock-timeout", "60s"]);
    // A second session has asked for what is in the way.
    let asked = format!(
        "SELECT 1 FROM pg_stat_activity WHERE {OURS} AND query LIKE '%pg_blocking_pids%' \
         AND state = 'idle' AND clock_timestamp() > state_change + interval '500 ms'"
    );
    until_sql("what is in the way is known", &database, &asked).await;
    drop(holder);
    let finished = finished(child).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let output = finished.errors.lines().find(|line| line.contains("waits for process"));
    let output = output.unwrap_or_else(|| panic!("{finished:?}"));
    let parts = [ONE, "ALTER TABLE items", " s; ", "LOCK TABLE items IN ACCESS SHARE MODE"];
    assert!(parts.iter().all(|part| output.contains(part)), "{output}");
}

/// A limit would leave an invalid index, though nothing is behind it in the queue.
#[tokio::test]
async fn concurrent_index_build_has_no_lock_timeout() {
    let database = migrated(Engine::Postgres).await;
    let revisions = one(
        &json!([{"postgres": "CREATE INDEX CONCURRENTLY items_extra_idx ON items (status, name)", "outside": true}]),
        &json!([{"postgres": "DROP INDEX CONCURRENTLY items_extra_idx", "outside": true}]),
    );
    let migrator = Migrator::new(&database, &revisions);
    let holder = hold(&database, "ROW EXCLUSIVE").await;
    let child = migrator.spawn(&["up", "--lock-timeout", "100ms", "--lock-tries", "1"]);
    let waits = format!(
        "SELECT 1 FROM pg_stat_activity WHERE {OURS} AND wait_event_type = 'Lock' \
         AND query LIKE 'CREATE INDEX%' AND clock_timestamp() > query_start + interval '1 second'"
    );
    until_sql("the build waits for longer than the limit", &database, &waits).await;
    drop(holder);
    let finished = finished(child).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    is_head(&database, &revisions).await;
}

/// A broken precondition is reported at once, though a step before it waits for a lock.
#[tokio::test]
async fn question_is_asked_before_a_lock_is_awaited() {
    let database = migrated(Engine::Postgres).await;
    for _ in 0..2 {
        let row = "INSERT INTO items (id, name, status) VALUES (gen_random_uuid(), 'a', 'NEW')";
        database.sql(row).await;
    }
    let revisions = one(
        &json!([
            {"postgres": "ALTER TABLE items ADD COLUMN extra text"},
            {"postgres": "CREATE UNIQUE INDEX items_name_key ON items (name)", "ask": [["no duplicates", "items", "name"]]},
        ]),
        &json!([
            {"postgres": "DROP INDEX items_name_key"},
            {"postgres": "ALTER TABLE items DROP COLUMN extra"},
        ]),
    );
    let migrator = Migrator::new(&database, &revisions);
    let holder = hold(&database, "ACCESS SHARE").await;
    let output = migrator.fails(&["up", "--lock-timeout", "100ms", "--lock-tries", "1"], 4).await;
    assert!(output.contains("no duplicate items.name") && output.contains("2 rows"), "{output}");
    drop(holder);
    database.sql("DELETE FROM items").await;
    migrator.ok(&["up"]).await;
    is_head(&database, &revisions).await;
}

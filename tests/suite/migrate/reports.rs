//! Failures of other tools from public reports: each has the right outcome here.

use bookstore_tests::{Database, Engine, catalog, on_every_engine};
use serde_json::{Value, json};

use super::{Migrator, OURS, finished, is_head, migrated, names, until_sql};

on_every_engine!(
    changed_literal_is_refused_and_changed_formatting_is_not,
    step_that_queries_the_database_is_refused_offline,
    precondition_of_a_step_is_checked_before_any_lock,
    interrupted_backfill_resumes_after_its_last_batch,
);

fn file(revisions: Value) -> Value {
    json!({ "revisions": revisions })
}

/// SeaQL/sea-orm, sqlx#2659: with a checksum over bytes a changed line end is a changed migration.
async fn changed_literal_is_refused_and_changed_formatting_is_not(engine: Engine) {
    let database = migrated(engine).await;
    let with = |sql: &str| {
        file(
            json!([{"name": "m29990101_000001_one", "up": [{"sql": sql}], "down": [{"sql": "DROP TABLE extra"}]}]),
        )
    };
    let text = "CREATE TABLE extra (\n  a text DEFAULT 'x', -- why\n  b integer\n)";
    Migrator::new(&database, &with(text)).ok(&["up"]).await;
    for same in [
        text.replace('\n', "\r\n").as_str(),
        "CREATE TABLE extra(a text DEFAULT 'x',b integer) /* else */",
    ] {
        let again = Migrator::new(&database, &with(same)).ok(&["up"]).await;
        assert_eq!(again, "nothing to apply\n", "{same}");
    }
    let changed = Migrator::new(&database, &with(&text.replace("'x'", "'y'")));
    for verb in [&["up"][..], &["down", "--yes"], &["up", "--dry-run"]] {
        let errors = changed.fails(verb, 6).await;
        let names = ["m29990101_000001_one", "migrate show m29990101_000001_one", "repair"];
        assert!(names.iter().all(|name| errors.contains(name)), "{verb:?}: {errors}");
    }
    let status = changed.ok(&["status"]).await;
    assert!(status.contains("changed  m29990101_000001_one"), "{status}");
    let both = changed.ok(&["show", "m2999"]).await;
    assert!(both.contains("DEFAULT 'x'") && both.contains("DEFAULT 'y'"), "{both}");
    let reason = ["repair", "m2999", "--reason", "a typo was mended"];
    assert_eq!(changed.ok(&reason).await, "accepted m29990101_000001_one\n");
    assert_eq!(changed.ok(&["up"]).await, "nothing to apply\n");
    let history = changed.ok(&["history", "-v"]).await;
    assert!(history.contains("repaired: a typo was mended"), "{history}");
    assert!(changed.ok(&reason).await.contains("nothing to repair"));
}

/// xagent#1812, dify#19285: offline SQL failed halfway.
async fn step_that_queries_the_database_is_refused_offline(engine: Engine) {
    let database = migrated(engine).await;
    let migrator = Migrator::new(
        &database,
        &file(json!([
            {"name": "m29990101_000001_one", "up": [{"sql": "CREATE TABLE one (id integer)"}], "down": [{"sql": "DROP TABLE one"}]},
            {"name": "m29990101_000002_two", "up": [{"code": "count users"}], "down": []},
            {"name": "m29990101_000003_three", "up": [{"sql": "CREATE TABLE three (id integer)"}], "down": [{"sql": "DROP TABLE three"}]},
        ])),
    );
    let refused = migrator.run(&["sql", "base:head"]).await;
    assert_eq!((refused.code, refused.output.as_str()), (Some(1), ""), "{refused:?}");
    let expected = ["m29990101_000002_two", "step 1", "count users"];
    assert!(expected.iter().all(|part| refused.errors.contains(part)), "{refused:?}");
    let without = migrator.ok(&["sql", "m29990101_000002:head"]).await;
    assert!(without.contains("CREATE TABLE three") && !without.contains("CREATE TABLE one"));
    migrator.ok(&["up"]).await;
    migrator.ok(&["down", "-3", "--yes"]).await;
}

/// golang-migrate and Atlas: a migration must fail before it waits or locks, and name the rows.
async fn precondition_of_a_step_is_checked_before_any_lock(engine: Engine) {
    let database = migrated(engine).await;
    for name in ["a", "a", "a", "b", "b", "c"] {
        let id = match engine {
            Engine::Sqlite => "randomblob(16)",
            Engine::Postgres => "gen_random_uuid()",
        };
        database
            .sql(&format!("INSERT INTO items (id, name, status) VALUES ({id}, '{name}', 'NEW')"))
            .await;
    }
    let unique = file(json!([{
        "name": "m29990101_000001_one",
        "up": [{"sql": "CREATE UNIQUE INDEX items_name_key ON items (name)", "ask": [["no duplicates", "items", "name"]]}],
        "down": [{"sql": "DROP INDEX items_name_key"}],
    }]));
    let migrator = Migrator::new(&database, &unique);
    let before = (catalog(&database).await, names(&database).await);
    let errors = migrator.fails(&["up"], 4).await;
    let expected = [
        "no duplicate items.name",
        "5 rows",
        "\"name\":\"a\",\"rows\":3",
        "\"name\":\"b\",\"rows\":2",
    ];
    assert!(expected.iter().all(|part| errors.contains(part)), "{errors}");
    assert_eq!((catalog(&database).await, names(&database).await), before);
    database.sql("DELETE FROM items WHERE name <> 'c'").await;
    migrator.ok(&["up"]).await;
    migrator.ok(&["down", "--yes"]).await;
    // The rows of an earlier step in the same revision are checked after that step.
    let nulls = file(json!([{
        "name": "m29990101_000001_one",
        "up": [
            {"sql": "ALTER TABLE items ADD COLUMN extra text"},
            {"sql": "UPDATE items SET status = status", "ask": [["no nulls", "items", "extra"]]},
        ],
        "down": [{"sql": "ALTER TABLE items DROP COLUMN extra"}],
    }]));
    let errors = Migrator::new(&database, &nulls).fails(&["up"], 4).await;
    assert!(errors.contains("no NULL in items.extra") && errors.contains("1 rows"), "{errors}");
    assert_eq!((catalog(&database).await, names(&database).await), before);
}

/// Committed batches stay.
async fn interrupted_backfill_resumes_after_its_last_batch(engine: Engine) {
    let database = migrated(engine).await;
    let rows = match engine {
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                           INSERT INTO items (id, name, status) SELECT randomblob(16), 'n' || i, 'NEW' FROM n"
        }
        Engine::Postgres => {
            "INSERT INTO items (id, name, status) \
                             SELECT gen_random_uuid(), 'n' || i, 'NEW' FROM generate_series(1, 500) AS i"
        }
    };
    database.sql(rows).await;
    let revisions = |pause: u32| {
        file(json!([{
            "name": "m29990101_000001_one",
            "up": [
                {"sql": "ALTER TABLE items ADD COLUMN extra text"},
                {"backfill": {"table": "items", "set": "extra = upper(name)", "only": "extra IS NULL", "batch": 10, "pause_ms": pause}, "outside": true},
            ],
            "down": [{"sql": "SELECT 1"}, {"sql": "ALTER TABLE items DROP COLUMN extra"}],
        }]))
    };
    let slow = Migrator::new(&database, &revisions(100));
    let mut child = slow.spawn(&["up"]);
    bookstore_tests::until("rows are filled", super::SOON, async || {
        let filled = database.try_sql("SELECT 1 FROM items WHERE extra IS NOT NULL LIMIT 1").await;
        filled.is_ok_and(|rows| !rows.is_empty())
    })
    .await;
    child.start_kill().expect("a signal");
    child.wait().await.expect("its end");
    let done: usize =
        database.value("SELECT count(extra) FROM items").await.parse().expect("a number");
    assert!((1..500).contains(&done), "{done}");
    let status = slow.ok(&["status"]).await;
    assert!(status.contains("half (1 of 2 steps)  m29990101_000001_one"), "{status}");
    let fast = Migrator::new(&database, &revisions(0));
    let finished = fast.run(&["up"]).await;
    assert!(finished.errors.contains("goes on with step 2 of 2"), "{finished:?}");
    assert_eq!(database.value("SELECT count(*) FROM items WHERE extra = upper(name)").await, "500");
    is_head(&database, &revisions(0)).await;
    let errors = fast.fails(&["down", "--yes"], 5).await;
    assert!(errors.contains("items.extra (500 rows)"), "{errors}");
    fast.ok(&["down", "--yes", "--allow-data-loss"]).await;
    is_head(&database, &json!({})).await;
}

/// matrix-authentication-service#5298: waiters in the lock and CONCURRENTLY waited for each other.
#[tokio::test]
async fn eight_migrators_with_a_concurrent_index_apply_it_once() {
    let database = migrated(Engine::Postgres).await;
    let revisions = file(json!([{
        "name": "m29990101_000001_one",
        "up": [{"postgres": "CREATE INDEX CONCURRENTLY items_extra_idx ON items (status, name)", "outside": true}],
        "down": [{"postgres": "DROP INDEX CONCURRENTLY items_extra_idx", "outside": true}],
    }]));
    let migrator = Migrator::new(&database, &revisions);
    let Database::Postgres(postgres) = &database else { panic!("PostgreSQL's") };
    let mut holder = postgres.connect().await;
    let lock = "BEGIN; LOCK TABLE items IN ROW EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("the lock");
    let eight: Vec<_> = (0..8).map(|_| migrator.spawn(&["up"])).collect();
    // One of them builds the index and waits for the table, the others wait for the migration lock.
    let all = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE {OURS} \
         HAVING count(*) >= 8 AND bool_or(wait_event_type = 'Lock')"
    );
    until_sql("eight migrators wait", &database, &all).await;
    drop(holder);
    let mut outputs = Vec::new();
    for child in eight {
        let finished = finished(child).await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
        outputs.push(finished.output);
    }
    outputs.sort();
    let mut expected = vec!["nothing to apply\n".to_owned(); 7];
    expected.insert(0, "applied m29990101_000001_one\n".to_owned());
    assert_eq!(outputs, expected);
    is_head(&database, &revisions).await;
}

/// goose#292, efcore.pg#2737: the first of two steps was applied, and the next run failed on it.
#[tokio::test]
async fn failed_step_outside_a_transaction_is_named_and_resumed() {
    let database = migrated(Engine::Postgres).await;
    let user = |email: &str| {
        format!(
            "INSERT INTO users (id, email, username, full_name, password_hash) \
             VALUES (gen_random_uuid(), '{email}', 'same', 'Name', 'x')"
        )
    };
    database.sql(&user("a@example.com")).await;
    database.sql(&user("b@example.com")).await;
    let with = |first: &str| {
        file(json!([{
            "name": "m29990101_000001_one",
            "up": [
                {"postgres": first, "outside": true},
                {"postgres": "CREATE UNIQUE INDEX CONCURRENTLY \"users_username_key\" ON \"users\" (\"username\")", "outside": true},
            ],
            "down": [
                {"postgres": "DROP INDEX CONCURRENTLY \"users_username_key\"", "outside": true},
                {"postgres": "DROP INDEX CONCURRENTLY \"users_role_idx\"", "outside": true},
            ],
        }]))
    };
    let first = "CREATE INDEX CONCURRENTLY \"users_role_idx\" ON \"users\" (\"role\")";
    let revisions = with(first);
    let migrator = Migrator::new(&database, &revisions);
    let before = catalog(&database).await;
    let half = async || {
        let errors = migrator.fails(&["up"], 1).await;
        let parts = [
            "m29990101_000001_one, step 2",
            "users_username_key",
            "steps 1 to 1 are done and stand",
        ];
        assert!(parts.iter().all(|part| errors.contains(part)), "{errors}");
        let status = migrator.ok(&["status"]).await;
        assert!(status.contains("half (1 of 2 steps)  m29990101_000001_one"), "{status}");
        assert_eq!(database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await, "0");
    };
    half().await;
    let edited =
        with("CREATE INDEX CONCURRENTLY \"users_role_idx\" ON \"users\" (\"role\", \"id\")");
    let errors = Migrator::new(&database, &edited).fails(&["up"], 6).await;
    assert!(errors.contains("step 1") && errors.contains("was edited"), "{errors}");
    migrator.ok(&["down", "-1", "--yes"]).await;
    assert_eq!(catalog(&database).await, before, "`down` undoes the half");
    half().await;
    database.sql("DELETE FROM users WHERE email LIKE 'b%'").await;
    migrator.ok(&["up"]).await;
    is_head(&database, &revisions).await;
    migrator.ok(&["down", "-1", "--yes"]).await;
    assert_eq!(catalog(&database).await, before);
}

/// Runs `new` where it has nothing to write; answers what it prints.
async fn nothing_new(migrator: &Migrator) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("mod.rs");
    let before = "mod m20000101_000001_first;\n        m20000101_000001_first::revision(),\n";
    std::fs::write(&list, before).expect("the list");
    let path = folder.path().to_string_lossy().into_owned();
    let new = migrator.run(&["new", "-m", "again", "--folder", &path]).await;
    assert_eq!((new.code, new.output.as_str()), (Some(8), "nothing to do\n"), "{new:?}");
    assert_eq!(std::fs::read_to_string(&list).expect("the list"), before);
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    new.errors
}

/// SeaQL/sea-orm#2812: the second run without a change dropped a unique key.
#[tokio::test]
async fn repeated_new_finds_nothing_to_do_and_drops_nothing() {
    let database = migrated(Engine::Postgres).await;
    let head = Migrator::new(&database, &json!({}));
    assert_eq!(nothing_new(&head).await, "");
    assert_eq!(nothing_new(&head).await, "");
    let revisions = file(json!([{
        "name": "m29990101_000001_one",
        "up": [{"sql": "CREATE UNIQUE INDEX \"items_name_status_key\" ON \"items\" (\"name\", \"status\")"}],
        "down": [{"sql": "DROP INDEX \"items_name_status_key\""}],
    }]));
    let migrator = Migrator::new(&database, &revisions);
    migrator.ok(&["up"]).await;
    let message = nothing_new(&migrator).await;
    let parts = ["items_name_status_key", "no entity declares", "--drop items_name_status_key"];
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    // Asked for, it is dropped, on both engines.
    let folder = tempfile::tempdir().expect("a folder");
    let list = "mod m29990101_000001_one;\n        m29990101_000001_one::revision(),\n";
    std::fs::write(folder.path().join("mod.rs"), list).expect("the list");
    let path = folder.path().to_string_lossy().into_owned();
    let drop = ["--drop", "items_name_status_key"];
    let new = [&["new", "-m", "drop it", "--folder", &path, "--json"], &drop[..]].concat();
    let new: Value = serde_json::from_str(&migrator.ok(&new).await).expect("JSON");
    let written = new["file"].as_str().expect("a file");
    let text = std::fs::read_to_string(written).expect("the revision");
    assert_eq!(text.matches("DROP INDEX").count(), 2, "{text}");
    assert_eq!(text.matches("CREATE UNIQUE INDEX").count(), 2, "{text}");
    let unknown = migrator.run(&["new", "-m", "x", "--folder", &path, "--drop", "nothing"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.errors.contains("--drop nothing"), "{unknown:?}");
}

/// ariga/atlas#3242: a CHECK of two comparisons was dropped and added again on each run.
#[tokio::test]
async fn other_spelling_of_a_check_is_no_difference() {
    let database = migrated(Engine::Postgres).await;
    let head = Migrator::new(&database, &json!({}));
    let silent = async || {
        assert_eq!(head.ok(&["check", "--json"]).await.trim(), "[]");
        assert_eq!(nothing_new(&head).await, "");
    };
    silent().await;
    let both = "SELECT count(*) FROM pg_constraint WHERE contype = 'c' \
                AND connamespace = 'public'::regnamespace AND pg_get_constraintdef(oid) LIKE '%AND%'";
    let both: u32 = database.value(both).await.parse().expect("a number");
    assert!(both >= 15, "{both} CHECKs of two comparisons");
    for (table, name, check) in [
        (
            "users",
            "users_username_check",
            "((1 <= length(\"username\"))) AND ((length(\"username\") <= (100)))",
        ),
        ("users", "users_role_check", "\"role\" IN ('ADMIN', 'USER')"),
        ("items", "items_status_check", "length(\"status\") >= 1 AND length(\"status\") <= 50"),
    ] {
        database.sql(&format!("ALTER TABLE {table} DROP CONSTRAINT {name}")).await;
        database.sql(&format!("ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({check})")).await;
        silent().await;
    }
    // Another bound is one.
    database.sql("ALTER TABLE items DROP CONSTRAINT items_status_check").await;
    let wider = "ALTER TABLE items ADD CONSTRAINT items_status_check \
                 CHECK (length(status) BETWEEN 1 AND 51)";
    database.sql(wider).await;
    let message = head.fails(&["check"], 1).await;
    assert_eq!(message, "", "findings are the answer, no error");
}

//! Migrations that are killed at random moments. The next run reaches the head, with the schema of
//! a run without a kill.

use std::{process::Stdio, time::Duration};

use rand::Rng;
use serde_json::json;
use tokio::{process::Command, time::sleep};

use crate::{Database, Engine, Origin, REVISIONS, catalog, program};

/// The longest time before a migration is killed.
const LONGEST: Duration = Duration::from_millis(700);

/// Kills a migration `kills` times on each engine.
pub(super) async fn kills(kills: u32) {
    let file = tempfile::NamedTempFile::new().expect("a file for revisions");
    // Steps of every kind, each with rows to change.
    let revisions = json!({"revisions": [{
        "name": "m29990101_000001_many",
        "up": [
            {"postgres": "INSERT INTO items (id, name, status) SELECT gen_random_uuid(), 'n' || i, 'NEW' FROM generate_series(1, 5000) AS i"},
            {"sqlite": "INSERT INTO items (id, name, status) WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT randomblob(16), 'n' || i, 'NEW' FROM n"},
            {"sql": "ALTER TABLE items ADD COLUMN extra text"},
            {"backfill": {"table": "items", "set": "extra = upper(name)", "only": "extra IS NULL", "batch": 200}, "outside": true},
            {"postgres": "CREATE INDEX CONCURRENTLY items_extra_idx ON items (extra)", "outside": true},
            {"sqlite": "CREATE INDEX items_extra_idx ON items (extra)"},
            {"postgres": "ALTER TABLE items ALTER COLUMN extra SET NOT NULL"},
            {"rebuild": {"table": "items", "changes": [["set not null", "extra"]]}},
        ],
        "down": [
            {"rebuild": {"table": "items", "changes": [["drop not null", "extra"]]}},
            {"postgres": "ALTER TABLE items ALTER COLUMN extra DROP NOT NULL"},
            {"sqlite": "DROP INDEX items_extra_idx"},
            {"postgres": "DROP INDEX CONCURRENTLY items_extra_idx", "outside": true},
            {"sql": "SELECT 1"},
            {"sql": "ALTER TABLE items DROP COLUMN extra"},
            {"sql": "DELETE FROM items"},
        ],
    }]});
    std::fs::write(file.path(), revisions.to_string()).expect("the revisions");
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = Database::create(engine, Origin::Empty).await;
        let migrate = |arguments: &[&str]| {
            let mut command = Command::new(program());
            command.arg("migrate").args(arguments).env_clear().kill_on_drop(true);
            command.env("DATABASE_URL", database.owner_url()).env(REVISIONS, file.path());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("the program under test starts")
        };
        let up = async || {
            let output = migrate(&["up"]).wait_with_output().await.expect("its end");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{engine:?}: the next run: {errors}");
        };
        up().await;
        let head = (catalog(&database).await, applied(&database).await);
        let (mut killed, mut down) = (0, true);
        while killed < kills {
            let all = ["down", "base", "--yes", "--allow-data-loss"];
            let mut child = migrate(if down { &all } else { &["up"] });
            sleep(rand::rng().random_range(Duration::ZERO..LONGEST)).await;
            if child.try_wait().expect("its state").is_none() {
                child.start_kill().expect("a signal");
                killed += 1;
            }
            child.wait().await.expect("its end");
            // Every second time, so that half-done revisions are reverted too.
            if !down {
                up().await;
                assert_eq!(
                    (catalog(&database).await, applied(&database).await),
                    head,
                    "{engine:?}"
                );
            }
            down = !down;
        }
        up().await;
        assert_eq!((catalog(&database).await, applied(&database).await), head, "{engine:?}");
        let filled = "SELECT count(*) FROM items WHERE extra = upper(name)";
        assert_eq!(database.value(filled).await, "5000", "{engine:?}");
        eprintln!("{engine:?}: killed {killed} times");
    }
}

/// The recorded revisions. Each must be there once.
async fn applied(database: &Database) -> Vec<crate::Row> {
    let mut rows = database.sql("SELECT version FROM seaql_migrations ORDER BY version").await;
    rows.extend(database.sql("SELECT version, hash FROM bookstore_migrations ORDER BY 1").await);
    rows.extend(database.sql("SELECT version, step FROM bookstore_migration_steps").await);
    rows
}

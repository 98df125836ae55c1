//! The drill of docs/operations.md: a base backup and archived WAL restore a database to the second
//! before a wrong DELETE (PostgreSQL, 26.3. Continuous Archiving and Point-in-Time Recovery).

use crate::{Replicated, SOON, until};

const COUNT: &str = "SELECT count(*) FROM categories";

/// Undoes `scale` DELETEs, each on a cluster of its own.
pub(super) async fn point_in_time(scale: u32) {
    for _ in 0..scale {
        undo().await;
    }
}

async fn undo() {
    let mut cluster = Replicated::start(0).await;
    let archive = cluster.directory(0).join("archive").display().to_string();
    cluster.stop(0).await;
    let command = format!(
        "archive_command=mkdir -p {archive} && test ! -f {archive}/%f && cp %p {archive}/%f"
    );
    cluster.restart_with(0, &["archive_mode=on", &command]).await;
    let base = cluster.base_backup(0).await;
    // These are in the archived WAL alone.
    let more = "INSERT INTO categories (id, name) SELECT gen_random_uuid(), 'more ' || n \
                FROM generate_series(1, 100) AS n";
    cluster.execute(0, more).await;
    let before = cluster.value(0, COUNT).await;
    let time = cluster.value(0, "SELECT clock_timestamp()").await;
    let passed = format!("SELECT clock_timestamp() > timestamptz '{time}' + interval '1 second'");
    until("a second passes", SOON, async || cluster.value(0, &passed).await == "true").await;
    let wrong = "DELETE FROM categories; INSERT INTO categories (id, name) \
                 SELECT gen_random_uuid(), 'after the DELETE'";
    cluster.execute(0, wrong).await;
    let file = cluster.value(0, "SELECT pg_walfile_name(pg_current_wal_lsn())").await;
    cluster.execute(0, "SELECT pg_switch_wal()").await;
    let archived =
        format!("SELECT coalesce(last_archived_wal, '') >= '{file}' FROM pg_stat_archiver");
    until("the WAL is archived", SOON, async || cluster.value(0, &archived).await == "true").await;

    cluster.write_private(base, "recovery.signal", "");
    let restore = format!("restore_command=cp {archive}/%f %p");
    let target = format!("recovery_target_time={time}");
    let settings = [restore.as_str(), &target, "recovery_target_action=promote"];
    cluster.restart_with(base, &settings).await;
    let promoted = "SELECT NOT pg_is_in_recovery()";
    until("it is restored", SOON, async || cluster.value(base, promoted).await == "true").await;
    assert_eq!(cluster.value(base, COUNT).await, before, "the rows from before the DELETE");
    let later = "SELECT count(*) FROM categories WHERE name = 'after the DELETE'";
    assert_eq!(cluster.value(base, later).await, "0", "nothing from after it");
    assert_eq!(cluster.value(0, later).await, "1", "the broken database is as it was");
}

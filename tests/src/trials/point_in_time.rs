//! The drill of docs/operations.md: a base backup and archived WAL restore a database to the second
//! before a wrong DELETE (PostgreSQL, 26.3. Continuous Archiving and Point-in-Time Recovery). The
//! commands are those of the page.

use std::{fs, path::Path};

use crate::{Replicated, SOON, until};

const COUNT: &str = "SELECT count(*) FROM categories";

/// Undoes `scale` DELETEs, each on a cluster of its own.
pub(super) async fn point_in_time(scale: u32) {
    let commands = commands();
    for _ in 0..scale {
        undo(&commands).await;
    }
}

/// The commands of the page.
struct DrillCommands {
    archive: String,
    base_backup: String,
    switch: String,
    recover: String,
}

/// Reads the blocks of the shell under the heading, in their order.
fn commands() -> DrillCommands {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(page).expect("docs/operations.md");
    let (_, section) = page.split_once("\n### Point in time\n").expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let blocks = section.split("\n```sh\n").skip(1);
    let blocks: Vec<_> =
        blocks.map(|block| block.split("\n```").next().expect("an end").to_owned()).collect();
    let [archive, base_backup, switch, recover] =
        blocks.try_into().expect("the four blocks of the drill");
    DrillCommands { archive, base_backup, switch, recover }
}

async fn undo(commands: &DrillCommands) {
    let mut cluster = Replicated::start(0).await;
    let (base, directory) = cluster.empty_node();
    cluster.shell(0, "mkdir archive", &[]).await;
    let archive = cluster.directory(0).join("archive").display().to_string();
    let directory = directory.display().to_string();
    let variables = [("PRIMARY", "127.0.0.1"), ("ARCHIVE", &archive), ("BASE", &directory)];

    cluster.shell(0, &commands.archive, &variables).await;
    cluster.stop(0).await;
    cluster.restart(0).await;
    cluster.shell(0, &commands.base_backup, &variables).await;
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
    let file = cluster.shell(0, &commands.switch, &variables).await;
    let file =
        file.lines().map(str::trim).find(|line| line.len() == 24).expect("a name").to_owned();
    let archived =
        format!("SELECT coalesce(last_archived_wal, '') >= '{file}' FROM pg_stat_archiver");
    until("the WAL is archived", SOON, async || cluster.value(0, &archived).await == "true").await;

    // Another server would have another address. The harness sets max_connections on a command line,
    // and the server that recovers needs as many.
    let socket = cluster.directory(base).display().to_string();
    let port = cluster.port(base);
    let most = cluster.value(0, "SELECT current_setting('max_connections')").await;
    let settings =
        format!("port = {port}\nunix_socket_directories = '{socket}'\nmax_connections = {most}\n");
    let settings = format!("printf %s \"{settings}\" >> \"$BASE/postgresql.auto.conf\"");
    cluster.shell(base, &settings, &variables).await;
    let with_time = [&variables[..], &[("TIME", &time)]].concat();
    cluster.shell(base, &commands.recover, &with_time).await;
    let promoted = "SELECT NOT pg_is_in_recovery()";
    until("it is restored", SOON, async || cluster.value(base, promoted).await == "true").await;
    assert_eq!(cluster.value(base, COUNT).await, before, "the rows from before the DELETE");
    let later = "SELECT count(*) FROM categories WHERE name = 'after the DELETE'";
    assert_eq!(cluster.value(base, later).await, "0", "nothing from after it");
    assert_eq!(cluster.value(0, later).await, "1", "the broken database is as it was");
}

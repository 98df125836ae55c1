//! Backups and restores that are killed (SIGKILL) at random moments under a write load. Each complete
//! backup stays complete, and a database has either what it had or the whole backup.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rand::Rng as _;
use tokio::{process::Command, time::sleep};

use super::{
    backup::{Load, explains, make, restore, stocked},
    stock,
};
use crate::{Database, Engine, Origin, SOON, program, run, until};

/// Orders in the first backup, and those that are placed between two backups.
const ORDERS: usize = 20;

/// Kills `scale` backups and `scale` restores on each engine.
pub(super) async fn backup_kills(scale: u32) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = stocked(engine).await;
        let folder = tempfile::tempdir().expect("a folder");
        let load = Load::start(&server).await;
        until("orders are placed", SOON, async || load.count() >= ORDERS).await;
        let first = folder.path().join("first.backup");
        let start = Instant::now();
        make(&server.database(), &first).await;
        let whole = start.elapsed();
        kill_backups(&server.database(), folder.path(), whole, scale).await;

        let most = load.count() + ORDERS;
        until("orders are placed", SOON, async || load.count() >= most).await;
        let before = load.placed();
        let last = folder.path().join("last.backup");
        make(&server.database(), &last).await;
        let hidden = names(folder.path()).into_iter().find(|name| name.starts_with('.'));
        assert_eq!(hidden, None, "{engine:?}: the next backup removes what was left");
        let restored = restore(engine, &last).await;
        explains(&restored, &before, &load.placed()).await;
        load.end().await;
        kill_restores(engine, [first.as_path(), last.as_path()], scale).await;
    }
}

/// Starts the program, and kills it after a random part of the time that it takes. Returns whether it
/// was killed before its end.
async fn kill(database: &Database, arguments: &[&str], whole: Duration) -> bool {
    let mut command = Command::new(program());
    command.args(arguments).env_clear().env("DATABASE_URL", database.owner_url());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().expect("the program under test starts");
    let moment = rand::rng().random_range(0.0..1.1);
    sleep(whole.mul_f64(moment)).await;
    child.start_kill().expect("a kill, or its end before");
    let status = child.wait().await.expect("its end");
    assert!(status.success() || status.code().is_none(), "{arguments:?}: {status}");
    if let Database::Postgres(_) = database {
        let sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                        AND application_name = 'bookstore-backup'";
        until("its sessions end", SOON, async || database.sql(sessions).await.is_empty()).await;
    }
    !status.success()
}

/// Kills backups into a folder. The complete ones stay, and nothing else is listed.
async fn kill_backups(database: &Database, folder: &Path, whole: Duration, scale: u32) {
    let to = folder.display().to_string();
    let mut complete = listed(folder).await;
    let mut killed = 0;
    while killed < scale {
        let unfinished = kill(database, &["backup", "--to", &to], whole).await;
        killed += u32::from(unfinished);
        let now = listed(folder).await;
        assert!(complete.iter().all(|name| now.contains(name)), "{complete:?} and now {now:?}");
        // It may have been killed after its file got the name.
        let new = now.len() - complete.len();
        assert!(if unfinished { new <= 1 } else { new == 1 }, "{complete:?} and now {now:?}");
        complete = now;
    }
}

/// The backups of a folder, each read whole.
async fn listed(folder: &Path) -> Vec<String> {
    let to = folder.display().to_string();
    let done = run(&["backup", "list", &to, "--check", "--json"], &[]).await;
    assert_eq!(done.code, Some(0), "each one is complete: {done:#?}");
    let listed: serde_json::Value = serde_json::from_str(&done.output).expect("JSON");
    let backups = listed["backups"].as_array().expect("a list");
    backups.iter().map(|one| one["file"].as_str().expect("a path").to_owned()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Kills restores of two backups, in turn into a database with the other one and into an empty one.
async fn kill_restores(engine: Engine, backups: [&Path; 2], scale: u32) {
    let [first, last] = backups.map(|path| path.display().to_string());
    let full = restore(engine, backups[0]).await;
    let rows_of_first = rows(&full).await;
    let start = Instant::now();
    restore_over(&full, &last).await;
    let whole = start.elapsed();
    let rows_of_last = rows(&full).await;
    assert_ne!(rows_of_first, rows_of_last);
    let (mut killed, mut has) = (0, &rows_of_last);
    while killed < scale {
        let (file, other) =
            if has == &rows_of_last { (&first, &rows_of_first) } else { (&last, &rows_of_last) };
        let unfinished = kill(&full, &["restore", file, "--force"], whole).await;
        killed += u32::from(unfinished);
        let found = rows(&full).await;
        assert!(&found == other || (unfinished && &found == has), "{has:?}, {found:?}, {other:?}");
        has = if &found == other { other } else { has };

        let empty = Database::create(engine, Origin::Empty).await;
        let unfinished = kill(&empty, &["restore", &last], whole).await;
        killed += u32::from(unfinished);
        if unfinished && is_empty(&empty).await {
            let url = empty.owner_url();
            let done = run(&["restore", &last], &[("DATABASE_URL", &url)]).await;
            assert_eq!(done.code, Some(0), "the database is still empty: {done:#?}");
        }
        assert_eq!(rows(&empty).await, rows_of_last);
    }
    let check = run(&["migrate", "check"], &[("DATABASE_URL", &full.owner_url())]).await;
    assert_eq!(check.code, Some(0), "{check:#?}");
}

async fn restore_over(database: &Database, file: &str) {
    let url = database.owner_url();
    let done = run(&["restore", file, "--force"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(done.code, Some(0), "{done:#?}");
}

/// The counts of the orders and of their items, and the stock of all books.
async fn rows(database: &Database) -> [String; 3] {
    [
        database.value("SELECT count(*) FROM orders").await,
        database.value("SELECT count(*) FROM order_items").await,
        format!("{:?}", stock::balance(database).await),
    ]
}

async fn is_empty(database: &Database) -> bool {
    match database {
        Database::Postgres(_) => {
            let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
            database.value(tables).await == "0"
        }
        Database::Sqlite(sqlite) => !sqlite.path().exists(),
    }
}

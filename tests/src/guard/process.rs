//! The process of the guard: it starts PostgreSQL for its run and removes what runs leave.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::postgres::{cluster, managers};

/// The prefix of the names of runs' directories.
const PREFIX: &str = "bookstore-run-";

/// The lock file of a directory. Its guard holds the lock as long as it lives.
const LOCK: &str = "lock";

/// Runs the guard until its standard input ends or a signal arrives.
pub fn hold() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime for the guard");
    let code = runtime.block_on(serve());
    // Without this exit the thread that reads standard input would not end.
    std::process::exit(code)
}

async fn serve() -> i32 {
    let base = base();
    sweep(&base).await;
    let (directory, _lock) = match create(&base) {
        Ok(created) => created,
        Err(error) => {
            write_answer(&json!({"error": format!("{}: {error}", base.display())}));
            return 1;
        }
    };
    write_answer(&json!({"directory": directory}));

    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            drop(sender.send(line));
        }
    });
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [mut term, mut int, mut hup] =
        signals.map(|kind| signal(kind).expect("a handler for the signal"));
    let mut running = None;
    loop {
        let request = tokio::select! {
            request = requests.recv() => request,
            _ = term.recv() => None,
            _ = int.recv() => None,
            _ = hup.recv() => None,
        };
        if request.is_none() {
            break;
        }
        match cluster::start(&directory.join("postgres")).await {
            Ok(cluster) => {
                write_answer(&json!({"port": cluster.port}));
                running = Some(cluster);
            }
            Err(error) => write_answer(&json!({"error": error})),
        }
    }
    managers::end_managers(&directory);
    cluster::stop_all(&directory).await;
    drop(running);
    remove(&directory).await;
    0
}

/// Writes an answer to the test process, which may have ended already.
fn write_answer(answer: &Value) {
    let mut output = std::io::stdout();
    drop(writeln!(output, "{answer}").and_then(|()| output.flush()));
}

/// The parent directory of runs' directories. Its path is short enough for a socket, and the
/// account that PostgreSQL runs as can enter it.
fn base() -> PathBuf {
    let fits = |path: &PathBuf| {
        path.as_os_str().len() <= 60
            && path.is_dir()
            && (!cluster::is_root()
                || path.ancestors().all(|folder| {
                    fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
                }))
    };
    let wanted = std::env::temp_dir();
    let wanted = wanted.canonicalize().unwrap_or(wanted);
    if fits(&wanted) { wanted } else { PathBuf::from("/tmp") }
}

/// A new directory, and the lock that shows that its guard is alive.
fn create(base: &Path) -> std::io::Result<(PathBuf, File)> {
    let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base)?.keep();
    // The lock is taken before the directory has its final name, so that no sweep finds it
    // unlocked.
    let unnamed = directory.join("lock.new");
    let lock = File::create(&unnamed)?;
    lock.lock()?;
    fs::rename(unnamed, directory.join(LOCK))?;
    // Other accounts may pass through, since PostgreSQL may run as another account.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o711))?;
    Ok((directory, lock))
}

/// Stops and removes what killed guards of this account have left.
async fn sweep(base: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == own);
        if ours && is_abandoned(&path) {
            managers::end_managers(&path);
            cluster::stop_all(&path).await;
            remove(&path).await;
        }
    }
}

fn is_abandoned(directory: &Path) -> bool {
    match File::open(directory.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        // A starting guard has created the directory and not yet the lock.
        Err(_) => fs::metadata(directory)
            .and_then(|data| data.modified())
            .is_ok_and(|made| made.elapsed().is_ok_and(|age| age > Duration::from_secs(60))),
    }
}

/// Removes a directory that ending processes may still write to.
async fn remove(directory: &Path) {
    for _ in 0..100 {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ => return,
        }
    }
}

//! The PostgreSQL cluster of a run: the guard creates, starts and stops it.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::process::Child;

use super::{processes, programs};
use crate::wait::SOON;

/// The collation is not "C", so that a sort with a missing collation shows. Nothing is synced to
/// disk, since the cluster never outlives the run.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "max_connections=300",
    "shared_buffers=64MB",
    // Files are in the data directory, so that nothing else is left behind.
    "dynamic_shared_memory_type=mmap",
    "fsync=off",
    "full_page_writes=off",
    "wal_level=replica",
    // For clusters with replicas.
    "hot_standby=on",
    "wal_retrieve_retry_interval=100ms",
    // Tests read plans from the log: they turn auto_explain on for their database.
    "shared_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=-1",
    "logging_collector=on",
    "log_destination=jsonlog",
    "log_directory=log",
    "log_filename=server.log",
    "log_rotation_age=0",
    "log_rotation_size=0",
];

/// A running cluster.
pub(crate) struct Cluster {
    /// Its port on 127.0.0.1 and the socket in its directory.
    pub(crate) port: u16,
    /// Held so that the ended process is collected.
    process: Child,
}

impl Cluster {
    /// Waits until the server has ended.
    pub(crate) async fn ended(mut self) {
        drop(self.process.wait().await);
    }
}

/// Whether this process is root. PostgreSQL refuses to run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Creates a cluster in `directory`, which must not exist, and waits until it answers. Errors are
/// texts for the person who runs the tests.
pub(crate) async fn start(directory: &Path) -> Result<Cluster, String> {
    let programs = programs::find()?;
    prepare(&programs, directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    launch_on_a_free_port(&programs, directory).await
}

/// Creates a replica in `directory`, which must not exist, of the primary on a port, and waits
/// until it answers.
pub(crate) async fn follow(directory: &Path, primary: u16) -> Result<Cluster, String> {
    make(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let programs = programs::find()?;
    back_up(&programs, directory, primary).await?;
    launch_on_a_free_port(&programs, directory).await
}

/// The same on the port and in the directory of a former node, whose data is deleted.
pub(crate) async fn follow_again(
    directory: &Path,
    port: u16,
    primary: u16,
) -> Result<Cluster, String> {
    fs::remove_dir_all(directory.join("data")).map_err(|error| error.to_string())?;
    let programs = programs::find()?;
    back_up(&programs, directory, primary).await?;
    launch(&programs, directory, port, &[]).await
}

/// Copies a primary's data to `directory`, for a replica of it.
async fn back_up(programs: &Path, directory: &Path, primary: u16) -> Result<(), String> {
    let mut command = as_server_account(&programs.join("pg_basebackup"), directory);
    command.args(["--host=127.0.0.1", "--username=postgres", "--checkpoint=fast", "--no-sync"]);
    command.args(["--write-recovery-conf", "--wal-method=stream", "--port"]);
    command.arg(primary.to_string()).arg("--pgdata").arg(directory.join("data"));
    let output = tokio::process::Command::from(command).output().await;
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("pg_basebackup: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}

/// Starts the cluster in `directory` again on its port, with settings beside the usual ones, and
/// waits until it answers. The lock file of a killed cluster stays: PostgreSQL itself sees that it
/// is stale, and refuses to start beside processes that remain.
pub(crate) async fn start_again(
    directory: &Path,
    port: u16,
    settings: &[&str],
) -> Result<Cluster, String> {
    launch(&programs::find()?, directory, port, settings).await
}

async fn launch_on_a_free_port(programs: &Path, directory: &Path) -> Result<Cluster, String> {
    let mut last = String::new();
    for port in free_ports().take(5) {
        match launch(programs, directory, port, &[]).await {
            Ok(cluster) => return Ok(cluster),
            Err(error) => last = error,
        }
    }
    Err(format!("PostgreSQL doesn't start: {last}"))
}

/// Ports that are free when they are asked for, each given once. A killed node needs its port again
/// for its restart.
pub(crate) fn free_ports() -> impl Iterator<Item = u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = std::iter::repeat_with(|| {
        // Starts at a port by the process id, so that concurrent runs rarely meet. From 32,768 on the
        // kernel gives ports to clients.
        let offset = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        20_000 + u16::try_from(offset % 12_000).unwrap_or_default()
    });
    ports.take(12_000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

/// Stops every cluster of a run at once.
pub(crate) async fn stop_all(run: &Path) {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("postgres")) {
            stop(&entry.path()).await;
        }
    }
}

/// Stops the cluster in `directory` at once, if one runs there.
async fn stop(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sockets = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some());
    // The check comes first: the process id in the lock file may be another process's by now.
    let runs = sockets.into_iter().any(|path| UnixStream::connect(path).is_ok());
    if let (true, Ok(programs)) = (runs, programs::find()) {
        // A server that a test has frozen can't stop.
        processes::thaw(directory);
        let mut command = as_server_account(&programs.join("pg_ctl"), directory);
        command.args(["stop", "--silent", "--wait", "--mode=immediate", "--pgdata"]);
        command.arg(directory.join("data")).stdout(Stdio::null()).stderr(Stdio::null());
        drop(tokio::process::Command::from(command).status().await);
    }
}

/// Writes a file that only the server's account can read, into its data directory.
pub(super) fn write_private(directory: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let path = directory.join("data").join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    if let Some((user, group)) = server_account() {
        chown(&path, Some(user), Some(group))?;
    }
    Ok(())
}

pub(super) fn make(directory: &Path) -> std::io::Result<()> {
    fs::create_dir(directory)?;
    if let Some((user, group)) = server_account() {
        chown(directory, Some(user), Some(group))?;
    }
    Ok(())
}

fn prepare(programs: &Path, directory: &Path) -> std::io::Result<()> {
    make(directory)?;
    let data = directory.join("data");
    let mut last = String::new();
    // The system's part of the locale, or plain C where C.UTF-8 is missing.
    for locale in ["--locale=C.UTF-8", "--locale=C"] {
        let mut command = as_server_account(&programs.join("initdb"), directory);
        command.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        command.args(["--locale-provider=icu", "--icu-locale=en-US", locale, "--pgdata"]);
        let output = command.arg(&data).output()?;
        if output.status.success() {
            return Ok(());
        }
        last = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Err(std::io::Error::other(format!("initdb failed: {last}")))
}

async fn launch(
    programs: &Path,
    directory: &Path,
    port: u16,
    settings: &[&str],
) -> Result<Cluster, String> {
    let log = directory.join("postgres.log");
    let output = File::create(&log).map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut command = as_server_account(&programs.join("postgres"), directory);
    command.arg("-D").arg(directory.join("data")).arg("-k").arg(directory);
    command.args(["-p", &port.to_string()]);
    // Of a repeated setting the last value counts.
    command.args(SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]));
    command.stdout(output).stderr(errors);
    let mut process =
        tokio::process::Command::from(command).spawn().map_err(|error| error.to_string())?;

    let options = PgConnectOptions::new_without_pgpass();
    let options = options.socket(directory).port(port).username("postgres").database("postgres");
    let deadline = Instant::now() + SOON;
    loop {
        match PgConnection::connect_with(&options).await {
            Ok(connection) => {
                drop(connection.close().await);
                return Ok(Cluster { port, process });
            }
            Err(error) if Instant::now() > deadline => return Err(error.to_string()),
            // It is either starting or has failed.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        if let Ok(Some(status)) = process.try_wait() {
            let mut output = fs::read_to_string(&log).unwrap_or_default();
            // The log has the reason once it exists.
            output +=
                &fs::read_to_string(directory.join("data/log/server.json")).unwrap_or_default();
            return Err(format!("it ended with {status}: {output}"));
        }
    }
}

/// A command that runs as the account of PostgreSQL's server, in a folder that this account can
/// enter.
pub(super) fn as_server_account(program: &PathBuf, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null()).env("LC_ALL", "C");
    if let Some((user, group)) = server_account() {
        command.uid(user).gid(group);
    }
    command
}

/// The user and group to use instead of root: `postgres`, else `nobody`.
fn server_account() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |wanted: &str| {
        let mut fields = accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(wanted)).then_some(fields)
        })?;
        let user = fields.nth(1)?.parse().ok()?;
        Some((user, fields.next()?.parse().ok()?))
    };
    // 65534 is the id of the account nobody on systems that don't name one.
    Some(find("postgres").or_else(|| find("nobody")).unwrap_or((65_534, 65_534)))
}

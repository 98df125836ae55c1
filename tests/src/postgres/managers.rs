//! Programs around PostgreSQL that trials start: what promotes replicas, and poolers. Each has a
//! folder of its own, by which the guard finds and ends it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::cluster;

/// The prefix of the managers' folders. The servers' folders have another one.
const PREFIX: &str = "manager-";

/// Kills the managers of a run, so that they don't restart the servers.
pub(crate) fn end_managers(run: &Path) {
    let is_manager = |folder: &Path| {
        let below = folder.strip_prefix(run).ok().and_then(Path::to_str);
        below.is_some_and(|below| below.starts_with(PREFIX))
    };
    loop {
        let managers = processes_in(is_manager);
        if managers.is_empty() {
            return;
        }
        managers.into_iter().for_each(kill);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The processes whose working directory matches. Ended processes that aren't collected yet have
/// none.
fn processes_in(fits: impl Fn(&Path) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let folder = |process: &i32| fs::read_link(format!("/proc/{process}/cwd"));
    processes.filter(|process| folder(process).is_ok_and(|it| fits(&it))).collect()
}

fn kill(process: i32) {
    // The process may have ended in the meantime.
    let _ = Pid::from_raw(process).map(|process| kill_process(process, Signal::KILL));
}

/// A program on the path.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|path| path.is_file())
}

/// Starts a manager in its own folder, by which the guard finds it.
pub(super) fn start(base: &Path, name: &str, program: &str, arguments: &[&str]) -> Child {
    let directory = base.join(format!("{PREFIX}{name}"));
    if !directory.is_dir() {
        cluster::make(&directory).expect("a folder for a manager");
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("log"));
    let log = log.expect("a log for a manager");
    let path = find(program).unwrap_or_else(|| PathBuf::from(program));
    let mut command: Command = cluster::as_server_account(&path, &directory);
    command.args(arguments).env("HOME", &directory).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("its other end")).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"))
}

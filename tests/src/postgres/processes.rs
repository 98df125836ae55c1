//! The processes of a cluster: to find, stop and kill them.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::SOON;

/// The pause between two checks of a process.
const PERIOD: Duration = Duration::from_millis(1);

/// The server of the cluster in `directory`, if it runs. A killed server leaves its lock file, and
/// the process id in it may be another program's by now.
fn server(directory: &Path) -> Option<i32> {
    let data = directory.join("data");
    let lock = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let server: i32 = lock.lines().next()?.parse().ok()?;
    let command = fs::read(format!("/proc/{server}/cmdline")).ok()?;
    let data = data.as_os_str().as_encoded_bytes();
    command.split(|byte| *byte == 0).any(|word| word == data).then_some(server)
}

/// The processes of the cluster in `directory`, the server first; empty if it doesn't run.
fn all(directory: &Path) -> Vec<i32> {
    let Some(server) = server(directory) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |process: &i32| status(*process).is_some_and(|(_, parent)| parent == server);
    std::iter::once(server).chain(processes.filter(is_child)).collect()
}

/// A process's state, a letter, and its parent; `None` if it has ended.
fn status(process: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The fields follow the name, which may contain any character.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

fn signal(process: i32, signal: Signal) {
    // The process may end in the meantime.
    let _ = Pid::from_raw(process).map(|process| kill_process(process, signal));
}

/// Waits until a process has ended or is in one of these states. Blocks.
///
/// # Panics
/// If it takes longer than [`SOON`].
fn await_state(process: i32, states: &[char]) {
    let deadline = Instant::now() + SOON;
    while let Some((state, _)) = status(process).filter(|(state, _)| !states.contains(state)) {
        assert!(Instant::now() < deadline, "process {process} stays in state {state}");
        thread::sleep(PERIOD);
    }
}

/// Stops all processes of the cluster in `directory` (SIGSTOP) and returns them. Blocks.
pub(crate) fn freeze(directory: &Path) -> Vec<i32> {
    // The server comes first, since it starts new processes.
    if let Some(server) = server(directory) {
        signal(server, Signal::STOP);
        await_state(server, &['T', 'Z', 'X']);
    }
    let all = all(directory);
    for process in &all {
        signal(*process, Signal::STOP);
    }
    all
}

/// Stops one process. Blocks.
pub(crate) fn freeze_one(process: i32) {
    signal(process, Signal::STOP);
    await_state(process, &['T', 'Z', 'X']);
}

/// Continues one process.
pub(crate) fn thaw_one(process: i32) {
    signal(process, Signal::CONT);
}

/// Continues the stopped processes.
pub(crate) fn thaw(directory: &Path) {
    for process in all(directory) {
        signal(process, Signal::CONT);
    }
}

/// Asks the server for a fast shutdown, which ends open sessions.
pub(crate) fn ask_to_stop(directory: &Path) {
    if let Some(server) = server(directory) {
        signal(server, Signal::INT);
    }
}

/// Kills all processes, like the loss of a machine, and waits until they hold no resource. Returns
/// them. Blocks.
pub(crate) fn kill(directory: &Path) -> Vec<i32> {
    let all = freeze(directory);
    for process in &all {
        signal(*process, Signal::KILL);
    }
    for process in &all {
        // A zombie is enough: its files and memory are closed.
        await_state(*process, &['Z', 'X']);
    }
    all
}

/// Those of the processes that run.
pub(crate) fn running(processes: &[i32]) -> Vec<i32> {
    let runs = |process: &i32| status(*process).is_some_and(|(state, _)| !"ZX".contains(state));
    processes.iter().copied().filter(runs).collect()
}

//! The processes of a cluster: found, stopped, ended.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::SOON;

/// Between two looks at a process.
const PERIOD: Duration = Duration::from_millis(1);

/// The server of the cluster in `directory`, if it runs. What was killed leaves its lock file, and
/// the process named there may be another program's by now.
fn server(directory: &Path) -> Option<i32> {
    let data = directory.join("data");
    let lock = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let server: i32 = lock.lines().next()?.parse().ok()?;
    let command = fs::read(format!("/proc/{server}/cmdline")).ok()?;
    let data = data.as_os_str().as_encoded_bytes();
    command.split(|byte| *byte == 0).any(|word| word == data).then_some(server)
}

/// The processes of the cluster in `directory`, the server first; none if it doesn't run.
fn all(directory: &Path) -> Vec<i32> {
    let Some(server) = server(directory) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |process: &i32| look(*process).is_some_and(|(_, parent)| parent == server);
    std::iter::once(server).chain(processes.filter(is_child)).collect()
}

/// A process's state, a letter, and its parent; none if it is gone.
fn look(process: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

fn signal(process: i32, signal: Signal) {
    // It may end in this very moment.
    let _ = Pid::from_raw(process).map(|process| kill_process(process, signal));
}

/// Waits until a process is gone or in one of these states. Blocks.
///
/// # Panics
/// If it takes longer than [`SOON`].
fn await_state(process: i32, states: &[char]) {
    let deadline = Instant::now() + SOON;
    while let Some((state, _)) = look(process).filter(|(state, _)| !states.contains(state)) {
        assert!(Instant::now() < deadline, "process {process} stays in state {state}");
        thread::sleep(PERIOD);
    }
}

/// Stops all processes of the cluster in `directory` and says which they are. Blocks.
pub(crate) fn freeze(directory: &Path) -> Vec<i32> {
    // The server first: it would go on to start others.
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

/// Lets them go on.
pub(crate) fn thaw(directory: &Path) {
    for process in all(directory) {
        signal(process, Signal::CONT);
    }
}

/// Asks the server to stop in good order, whoever is connected.
pub(crate) fn ask_to_stop(directory: &Path) {
    if let Some(server) = server(directory) {
        signal(server, Signal::INT);
    }
}

/// Ends all processes at once, as a lost machine does, waits until none of them holds anything any
/// more, and says which they were. Blocks.
pub(crate) fn kill(directory: &Path) -> Vec<i32> {
    let all = freeze(directory);
    for process in &all {
        signal(*process, Signal::KILL);
    }
    for process in &all {
        // Whoever is to collect it may do so later: nothing is open or mapped by then.
        await_state(*process, &['Z', 'X']);
    }
    all
}

/// Which of these processes run.
pub(crate) fn running(processes: &[i32]) -> Vec<i32> {
    let runs = |process: &i32| look(*process).is_some_and(|(state, _)| !"ZX".contains(state));
    processes.iter().copied().filter(runs).collect()
}

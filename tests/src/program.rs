//! The program under test: its path, running it, and its output.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, PipeReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use tokio::sync::watch;

use crate::wait::SOON;

const NAME: &str = "bookstore-tests";

/// The path of the program under test.
///
/// # Panics
/// If cargo hasn't built it. This only happens if a test binary is moved.
pub fn program() -> PathBuf {
    if let Some(path) = env::var_os(format!("CARGO_BIN_EXE_{NAME}")) {
        return path.into();
    }
    let own = env::current_exe().expect("the path of this process");
    // A test binary that is run by hand lies in `deps`, one folder below the programs.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(NAME));
    beside.into_iter().find(|path| path.is_file()).expect("bookstore-tests, built by cargo test")
}

/// A command that runs the program with an empty environment, so that settings of this machine
/// don't affect a test.
pub(crate) fn command<A: AsRef<OsStr>>(arguments: &[A]) -> Command {
    command_of(&program(), arguments)
}

/// The same with another program, as that of another release.
pub(crate) fn command_of<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null());
    for kept in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// The result of a command of the program.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

/// Runs the program to its end, with these variables as its environment.
///
/// # Panics
/// If it can't be started or takes longer than [`SOON`].
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
    let mut command = tokio::process::Command::from(command(arguments));
    command.envs(environment.iter().copied()).kill_on_drop(true);
    let output = tokio::time::timeout(SOON, command.output())
        .await
        .expect("a command that ends")
        .expect("the program under test starts");
    Finished {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The lines that a process has written so far. A thread reads them, also while the test is blocked
/// or unwinding.
#[derive(Clone, Debug)]
pub struct Lines {
    lines: watch::Receiver<Vec<String>>,
}

impl Lines {
    pub(crate) fn capture(pipe: PipeReader) -> Self {
        let (sender, lines) = watch::channel(Vec::new());
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                sender.send_modify(|lines| lines.push(line));
            }
        });
        Self { lines }
    }

    /// A copy of all lines so far.
    pub fn so_far(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// The lines so far that are JSON objects, as log lines are.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.lines.borrow().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line that matches and returns it.
    ///
    /// # Panics
    /// If none arrives within [`SOON`], or the process closes its output first.
    pub async fn wait_for(&self, fits: impl Fn(&str) -> bool) -> String {
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(|line| fits(line)));
        let lines = tokio::time::timeout(SOON, found)
            .await
            .expect("the awaited line")
            .expect("the awaited line before the output's end");
        lines.iter().find(|line| fits(line)).expect("the line just seen").clone()
    }
}

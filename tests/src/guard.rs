//! The guard: a process beside each run of tests that owns what the run leaves on
//! the machine, a directory and PostgreSQL, and clears it however the run ends.
//!
//! It watches a pipe from the test process, which closes even on SIGKILL. What a
//! guard leaves that was killed itself, the next run's guard sweeps away.

mod process;

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
};

use serde_json::Value;

pub use self::process::hold;
use crate::program::program;

/// The test process's end of its guard.
pub(crate) struct Run {
    /// A directory that lives as long as the run.
    pub(crate) directory: PathBuf,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    // It outlives this process by a moment, so nothing waits for it.
    _guard: Child,
}

impl Run {
    /// The guard of this process, started at first use. Blocks.
    pub(crate) fn shared() -> &'static Run {
        static RUN: OnceLock<Run> = OnceLock::new();
        RUN.get_or_init(|| {
            let mut guard = Command::new(program())
                .arg("guard")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // A group of its own, out of reach of Ctrl-C.
                .process_group(0)
                .spawn()
                .expect("the guard starts");
            let input = guard.stdin.take().expect("a piped input");
            let mut output = BufReader::new(guard.stdout.take().expect("a piped output"));
            let answer = answer(&mut output);
            let directory = answer["directory"].as_str();
            let directory = directory.unwrap_or_else(|| panic!("the guard says {answer}")).into();
            Run { directory, pipes: Mutex::new((input, output)), _guard: guard }
        })
    }

    /// Has the guard start PostgreSQL; answers its port, or what is wrong. Blocks.
    pub(crate) fn postgres(&self) -> Result<u16, String> {
        let mut pipes = self.pipes.lock().expect("no panic while asking the guard");
        let (input, output) = &mut *pipes;
        writeln!(input, "postgres").map_err(|error| format!("the guard is gone: {error}"))?;
        let answer = answer(output);
        let port = answer["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        port.ok_or_else(|| answer["error"].as_str().unwrap_or("the guard is gone").to_owned())
    }
}

/// The guard's next answer; null if it has gone.
fn answer(output: &mut impl BufRead) -> Value {
    let mut line = String::new();
    drop(output.read_line(&mut line));
    serde_json::from_str(&line).unwrap_or(Value::Null)
}

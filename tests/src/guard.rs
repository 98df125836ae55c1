//! The guard: a process beside each run of tests. It owns what the run creates outside its process,
//! a directory and PostgreSQL, and removes it however the run ends.
//!
//! It reads a pipe from the test process, which closes even after SIGKILL. If the guard is killed
//! too, the next run's guard removes what is left.

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

/// The test process's end of the pipe to its guard.
pub(crate) struct Run {
    /// A directory that is removed when the run ends.
    pub(crate) directory: PathBuf,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    // The guard ends a moment after this process, so nothing waits for it.
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
                // A process group of its own, so that Ctrl-C doesn't reach it.
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

    /// Lets the guard start PostgreSQL. Returns its port, or the error. Blocks.
    pub(crate) fn postgres(&self) -> Result<u16, String> {
        let mut pipes = self.pipes.lock().expect("no panic while asking the guard");
        let (input, output) = &mut *pipes;
        writeln!(input, "postgres").map_err(|error| format!("the guard has ended: {error}"))?;
        let answer = answer(output);
        let port = answer["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        port.ok_or_else(|| answer["error"].as_str().unwrap_or("the guard has ended").to_owned())
    }
}

/// The guard's next answer, or null if it has ended.
fn answer(output: &mut impl BufRead) -> Value {
    let mut line = String::new();
    drop(output.read_line(&mut line));
    serde_json::from_str(&line).unwrap_or(Value::Null)
}

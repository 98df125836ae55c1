//! The guard removes what a run leaves, whichever process is killed.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// Starts a guard as a run of tests does, and reads its first answer.
fn start() -> (Child, BufReader<ChildStdout>, Value) {
    let mut command = Command::new(bookstore_tests::program());
    command.arg("guard").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut guard = command.spawn().expect("a guard");
    let mut output = BufReader::new(guard.stdout.take().expect("its output"));
    let first = answer(&mut output);
    (guard, output, first)
}

fn answer(output: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).expect("an answer");
    serde_json::from_str(&line).expect("JSON")
}

#[test]
fn guard_removes_what_a_killed_run_and_a_killed_guard_leave() {
    let (mut killed, mut output, first) = start();
    let left = first["directory"].as_str().expect("a directory").to_owned();
    let mut input = killed.stdin.take().expect("its input");
    writeln!(input, "postgres").expect("a guard that listens");
    let port = answer(&mut output)["port"].as_u64().expect("a port");
    let address = format!("127.0.0.1:{port}");
    TcpStream::connect(&address).expect("a running PostgreSQL");
    killed.kill().expect("a guard to kill");
    killed.wait().expect("its end");
    assert!(Path::new(&left).is_dir(), "{left} was removed early");

    // The next run's guard has swept before its first answer.
    let (mut guard, _output, second) = start();
    assert!(!Path::new(&left).exists(), "{left} is still there");
    TcpStream::connect(&address).expect_err("a stopped PostgreSQL");

    // A killed run closes this pipe without a message.
    let own = second["directory"].as_str().expect("a directory").to_owned();
    assert!(Path::new(&own).is_dir());
    drop(guard.stdin.take());
    assert!(guard.wait().expect("its end").success());
    assert!(!Path::new(&own).exists(), "{own} is still there");
}

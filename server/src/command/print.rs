//! What commands print. A closed, full or slow reader neither ends a command with a panic nor keeps
//! it from ending.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long the last words of a command wait for their reader.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Prints a line on standard output. A closed output is no error: its reader has read enough.
pub fn line(text: &str) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

/// Prints a line on standard error.
pub fn error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a line on standard output without waiting for its reader.
pub fn announce(text: String) {
    // Without a thread there is no line, which must not end the service.
    let _ = thread::Builder::new().name("output".to_owned()).spawn(move || line(&text));
}

/// Prints the reason of a command's end on standard error, and waits 1 s at most for its reader.
pub fn last_words(text: String) {
    let (done, wait) = mpsc::channel();
    let printing = thread::Builder::new().name("output".to_owned()).spawn(move || {
        error(&text);
        let _ = done.send(());
    });
    if printing.is_ok() {
        let _ = wait.recv_timeout(LAST_WORDS);
    }
}

//! A panic's line in the log. The standard library's own would be written to standard error in
//! the panicking thread, which would wait for the reader of the log.

use std::{backtrace::Backtrace, panic::PanicHookInfo, thread, time::Duration};

use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use super::writer;

/// How long a panic that ends the process waits for its line to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// Installs the hook. Every panic has its line, whatever the level of the log.
pub(super) fn report(people: bool) {
    std::panic::set_hook(Box::new(move |info| {
        writer::append(&line(info, people));
        // A panic of another thread ends a call, not the process.
        if thread::current().name() == Some("main") {
            writer::flush(FLUSH);
        }
    }));
}

fn line(info: &PanicHookInfo<'_>, people: bool) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let mut time = String::new();
    // Writing to a string can't fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    // Empty unless RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => backtrace.to_string(),
        _ => String::new(),
    };
    let current = thread::current();
    let thread = current.name().unwrap_or("unnamed");
    if people {
        return format!("{time} ERROR thread {thread} panicked at {place}: {message}\n{backtrace}");
    }
    let line = serde_json::json!({
        "timestamp": time, "level": "ERROR", "target": "bookstore::panic", "message": message,
        "thread": thread, "place": place, "backtrace": backtrace,
    });
    format!("{line}\n")
}

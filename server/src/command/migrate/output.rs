//! What `migrate` prints: tables for people, JSON for programs, progress on standard error.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::OnceLock,
};

use bookstore_migration::{
    revision::{Direction, Revision},
    runner::Event,
};
use serde_json::{Value, json};

use crate::migrations;

/// Where a verb's answer goes, and in which form.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) is_json: bool,
}

/// The first error of writing to standard output, after which nothing more is written to it.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints to standard output. An error ends no migration in its midst: [`failure`] reports it.
fn print(text: &str) {
    if FAILURE.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        // Only the first counts.
        let _ = FAILURE.set(error);
    }
}

/// Why standard output could not be written. A reader that wants no more, as `head`, is no failure.
pub(super) fn failure() -> Option<&'static io::Error> {
    FAILURE.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

fn print_error(text: &str) {
    // There is no place left to report that standard error can't be written.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

impl Output {
    /// Prints a line, unless JSON is wanted.
    pub(super) fn line(self, text: &str) {
        if !self.is_json {
            print(text);
        }
    }

    /// Prints JSON, if it is wanted.
    pub(super) fn json(self, value: &Value) {
        if self.is_json {
            print(&format!("{value:#}"));
        }
    }

    /// Prints a table: columns as wide as they have to be.
    pub(super) fn table(self, head: &[&str], rows: &[Vec<String>]) {
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let all = || std::iter::once(&head).chain(rows);
        let width = |at: usize| {
            all().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        for row in all() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            self.line(&cells.collect::<Vec<_>>().join("  "));
        }
    }

    /// Says why a verb failed.
    pub(super) fn fail(self, message: &str, code: u8) {
        print_error(&format!("error: {message}"));
        self.json(&json!({"error": message, "exit_code": code}));
    }

    /// Says something beside the answer.
    pub(super) fn note(self, text: &str) {
        print_error(text);
    }

    /// Lists heads.
    pub(super) fn heads(self, heads: &[&Revision]) {
        for head in heads {
            self.line(&format!("{} (head)", head.name));
        }
        let names: Vec<&str> = heads.iter().map(|head| head.name.as_str()).collect();
        self.json(&json!({"heads": names}));
    }

    /// Tells of a runner's events as they come: what is done is the answer, the rest goes beside.
    pub(super) fn event(self, event: &Event) {
        match event {
            Event::Done { revision, direction, elapsed } => {
                let done = match direction {
                    Direction::Up => "applied",
                    Direction::Down => "reverted",
                };
                // Programs read the two words.
                let took = if io::stdout().is_terminal() {
                    format!(" ({:.1} s)", elapsed.as_secs_f64())
                } else {
                    String::new()
                };
                self.line(&format!("{done} {revision}{took}"));
            }
            event => self.note(&migrations::text(event)),
        }
    }
}

/// A text, or a dash.
pub(super) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

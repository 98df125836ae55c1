//! The progress of a transfer: a bar on a terminal, otherwise a line every few seconds.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::command::print;

/// The time between two lines where there is no terminal.
const LINES: Duration = Duration::from_secs(5);

/// The progress on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    length: Option<u64>,
    start: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts the display. The length is the total that [`Progress::update`] counts up to, if it is
    /// known.
    #[must_use]
    pub fn start(length: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let (bar, template) = match length {
                Some(length) => {
                    (ProgressBar::new(length), "{bar:30} {percent:>3} %  {msg}, {eta} left")
                }
                None => (ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}"),
            };
            // The templates are valid. The default is the fallback.
            let style = ProgressStyle::with_template(template);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self { bar, length, start: now, last_line: now }
    }

    /// Updates the display: how much of the length is done, and how many rows were transferred and
    /// rejected.
    pub fn update(&mut self, done: u64, rows: u64, rejected: u64) {
        let seconds = self.start.elapsed().as_secs_f64();
        let mut message = format!("{rows} rows, {}/s", per_second(rows, seconds));
        if rejected > 0 {
            message = format!("{message}, {rejected} rejected");
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(message);
        } else if self.last_line.elapsed() >= LINES {
            self.last_line = Instant::now();
            self.note(&match self.length.filter(|length| *length > 0) {
                Some(length) => {
                    let percent = done.saturating_mul(100) / length;
                    let left = remaining(done, length, seconds);
                    format!("{message}, {percent} %, about {left} s left")
                }
                None => message,
            });
        }
    }

    /// Prints a line above the bar.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print::error(line)),
            None => print::error(line),
        }
    }

    /// Removes the bar.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate to be read by people"
)]
fn per_second(rows: u64, seconds: f64) -> u64 {
    (rows as f64 / seconds.max(0.001)) as u64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a guess to be read by people"
)]
fn remaining(done: u64, length: u64, seconds: f64) -> u64 {
    (seconds * length.saturating_sub(done) as f64 / (done as f64).max(1.0)).ceil() as u64
}

#[test]
fn the_remaining_time_is_estimated_from_the_progress() {
    assert_eq!(per_second(1_000, 2.0), 500);
    assert_eq!(remaining(25, 100, 10.0), 30);
    assert_eq!(remaining(100, 100, 10.0), 0);
    assert_eq!(remaining(120, 100, 10.0), 0);
}

//! The progress of a backup or a restore on standard error: bytes and their rate.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::command::print;

/// The time between two lines where there is no terminal.
const LINES: Duration = Duration::from_secs(5);

/// Counts bytes and shows how many there are each second.
pub(super) struct Rate {
    what: &'static str,
    bar: Option<ProgressBar>,
    bytes: u64,
    start: Instant,
    last_line: Instant,
}

impl Rate {
    /// Starts the display of one part of the work.
    pub(super) fn start(what: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
            // The template is valid. The default is the fallback.
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        let now = Instant::now();
        Self { what, bar, bytes: 0, start: now, last_line: now }
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes as u64);
    }

    /// Sets the number of bytes.
    pub(super) fn set(&mut self, bytes: u64) {
        self.bytes = bytes;
        if let Some(bar) = &self.bar {
            bar.set_message(self.text());
            bar.tick();
        } else if self.last_line.elapsed() >= LINES {
            self.last_line = Instant::now();
            print::error(&self.text());
        }
    }

    /// Ends the display with a last line.
    pub(super) fn end(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        print::error(&self.text());
    }

    fn text(&self) -> String {
        let each_second = u128::from(self.bytes) * 1000 / self.start.elapsed().as_millis().max(1);
        let each_second = u64::try_from(each_second).unwrap_or(u64::MAX);
        let (bytes, rate) = (HumanBytes(self.bytes), HumanBytes(each_second));
        format!("{}: {bytes}, {rate}/s", self.what)
    }
}

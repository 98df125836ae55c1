//! The events of a runner.

use std::time::Duration;

use crate::revision::Direction;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another migration holds the lock; the runner waits for it.
    Waiting {
        /// The other one.
        holder: String,
    },
    /// Revisions of a program without details were adopted.
    Adopted {
        /// How many.
        count: usize,
    },
    /// A revision that is half done goes on.
    Resumed {
        /// The revision.
        revision: String,
        /// The step that comes next, from 1.
        step: usize,
        /// How many there are.
        steps: usize,
    },
    /// A step is still running.
    Slow {
        /// The revision.
        revision: String,
        /// What the step does.
        step: String,
        /// How long it has taken so far.
        elapsed: Duration,
        /// Sessions that it waits for.
        blockers: Vec<String>,
    },
    /// A lock timeout: everything was rolled back and is retried.
    Retry {
        /// The revision.
        revision: String,
        /// How many tries have failed.
        failed: u32,
        /// How many there are at most.
        tries: u32,
        /// The sessions that held the lock.
        blockers: Vec<String>,
    },
    /// Rows of a backfill were changed.
    Filled {
        /// The revision.
        revision: String,
        /// How many rows so far.
        rows: u64,
        /// How long it has taken so far.
        elapsed: Duration,
    },
    /// An invalid index of an interrupted build was dropped.
    IndexDropped {
        /// The index.
        index: String,
    },
    /// A revision is applied or reverted.
    Done {
        /// The revision.
        revision: String,
        /// Which way.
        direction: Direction,
        /// How long it took.
        elapsed: Duration,
    },
}

/// The receiver of the events.
pub type EventReport<'a> = &'a mut (dyn FnMut(Event) + Send);

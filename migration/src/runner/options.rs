//! The timeouts and retries of a runner.

use std::time::Duration;

/// The timeouts and retries of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for another migrator: 60 s.
    pub wait: Duration,
    /// How long a step waits for a lock of PostgreSQL before it is rolled back and retried: 3 s.
    /// Readers and writers of the table queue behind it meanwhile.
    pub lock_timeout: Duration,
    /// How often a transaction is tried that didn't get its locks: 20 times.
    pub lock_tries: u32,
    /// The pause between two tries, in which queued sessions can run: 1 s.
    pub lock_pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(3),
            lock_tries: 20,
            lock_pause: Duration::from_secs(1),
        }
    }
}

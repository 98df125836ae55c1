//! The statement timeout of SQLite, by its progress handler (sqlite.org/c3ref/progress_handler.html).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{SqliteConnection, sqlite::LockedSqliteHandle};

/// After how many virtual machine instructions SQLite calls the handler: less than 1 ms.
const STEPS: i32 = 10_000;

/// Interrupts a statement of one SQLite session after its timeout.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    opened: Instant,
    /// Milliseconds after `opened`; `u64::MAX` while no statement runs.
    end: Arc<AtomicU64>,
}

impl Interrupt {
    /// Installs the handler in a session.
    ///
    /// # Errors
    /// If the session's thread has ended.
    pub(crate) async fn install(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let switch = Self { opened: Instant::now(), end: Arc::new(AtomicU64::new(u64::MAX)) };
        let seen = switch.clone();
        let mut handle: LockedSqliteHandle<'_> = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS, move || seen.now() < seen.end.load(Ordering::Relaxed));
        Ok(switch)
    }

    /// Starts the timeout of a statement.
    pub(crate) fn arm(&self, timeout: Duration) {
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.end.store(self.now().saturating_add(timeout), Ordering::Relaxed);
    }

    /// Stops the timeout.
    pub(crate) fn disarm(&self) {
        self.end.store(u64::MAX, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

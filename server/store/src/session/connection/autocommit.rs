//! The state of a connection whose statements commit by themselves.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use crate::cause::may_have_committed;

/// How long a commit's answer is waited for once its node was evicted: without it no one can know
/// what has happened.
pub(crate) const COMMIT_GRACE: Duration = Duration::from_secs(1);

/// What is known of a statement that commits by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AutocommitState {
    /// Statements run inside a transaction, or only read.
    Off,
    /// None has changed anything.
    Unchanged,
    /// One was sent, and there is no answer that tells what became of it.
    Unknown,
    /// One was answered: it has committed, unless it changed no row.
    Answered,
}

/// The state of a connection outside of transactions.
#[derive(Debug)]
pub(super) struct Autocommit {
    state: AtomicU8,
    /// How long the session was idle before its checkout, in milliseconds.
    idle_ms: AtomicU64,
}

impl Default for Autocommit {
    fn default() -> Self {
        let state = AtomicU8::new(AutocommitState::Off as u8);
        Self { state, idle_ms: AtomicU64::new(0) }
    }
}

impl Autocommit {
    pub(super) fn get(&self) -> AutocommitState {
        match self.state.load(Ordering::Acquire) {
            0 => AutocommitState::Off,
            1 => AutocommitState::Unchanged,
            2 => AutocommitState::Unknown,
            _ => AutocommitState::Answered,
        }
    }

    pub(super) fn set(&self, state: AutocommitState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// A statement is about to be sent.
    pub(super) fn sends(&self, sql: &str) {
        if self.get() != AutocommitState::Off && !sql.starts_with("SELECT ") {
            self.set(AutocommitState::Unknown);
        }
    }

    /// The statement was answered, or the connection has failed.
    pub(super) fn ends<T>(&self, result: &Result<T, sqlx::Error>) {
        if self.get() != AutocommitState::Unknown {
            return;
        }
        match result {
            Ok(_) => self.set(AutocommitState::Answered),
            Err(error) if may_have_committed(error) => {}
            Err(_) => self.set(AutocommitState::Unchanged),
        }
    }

    /// Notes how long the session was idle before its checkout.
    pub(super) fn note_idle(&self, idle: Duration) {
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        self.idle_ms.store(idle, Ordering::Relaxed);
    }

    /// How long the session was idle before its checkout.
    pub(super) fn idle_before(&self) -> Duration {
        Duration::from_millis(self.idle_ms.load(Ordering::Relaxed))
    }

    /// How long the answer to a statement is waited for once its node was evicted.
    pub(super) fn grace(&self) -> Duration {
        match self.get() {
            AutocommitState::Off => Duration::ZERO,
            _ => COMMIT_GRACE,
        }
    }
}

//! A connection outside of transactions: its statements commit by themselves.

use std::time::Duration;

use crate::session::connection::{Connection, autocommit::AutocommitState};

impl Connection {
    /// From now on, until [`Connection::end_autocommit`], statements commit by themselves.
    pub(crate) fn begin_autocommit(&self) {
        self.autocommit.set(AutocommitState::Unchanged);
    }

    /// What became of the last statement that changes something.
    pub(crate) fn end_autocommit(&self) -> AutocommitState {
        let state = self.autocommit.get();
        self.autocommit.set(AutocommitState::Off);
        state
    }

    /// Notes how long the session was idle before its checkout.
    pub(crate) fn note_idle(&self, idle: Duration) {
        self.autocommit.note_idle(idle);
    }

    /// How long the session was idle before its checkout.
    pub(crate) fn idle_before(&self) -> Duration {
        self.autocommit.idle_before()
    }
}

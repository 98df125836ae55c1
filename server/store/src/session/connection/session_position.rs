//! What a session remembers of positions.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use crate::{position::Position, session::connection::driver::ServerIdentity};

/// The last position that a session has seen, and the timeline of its primary.
#[derive(Debug, Default)]
pub(super) struct SessionPosition {
    /// The position that the last query has seen, if it is known.
    seen: Mutex<Option<Position>>,
    /// The timeline of the primary that runs the session; 0 while none has answered.
    primary_timeline: AtomicU32,
}

impl SessionPosition {
    pub(super) fn seen(&self) -> MutexGuard<'_, Option<Position>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what the last query has seen.
    pub(super) fn forget(&self) {
        *self.seen() = None;
    }

    /// The timeline of the primary that runs the session, if it is known to be one.
    pub(super) fn primary_timeline(&self) -> Option<u32> {
        Some(self.primary_timeline.load(Ordering::Relaxed)).filter(|timeline| *timeline > 0)
    }

    /// Reads an answer to [`POSITION`], and keeps the timeline of a primary.
    pub(super) fn learn(&self, server: ServerIdentity, text: &str) -> Option<Position> {
        let position = Position::parse(server.system, 0, text)?;
        if Position::is_of_primary(text) {
            self.primary_timeline.store(position.timeline, Ordering::Relaxed);
        }
        Some(position)
    }
}

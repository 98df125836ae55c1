//! Calls whose answers are watched: one that its peer does not take is ended.

use std::{
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use super::{Account, Watched};

impl Watched {
    /// The account of the call's connection.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// A piece of the answer goes to the transport.
    pub fn begin_piece(&self) {
        if self.answer.pieces.fetch_add(1, Ordering::Relaxed) == 0 {
            self.answer.taken.store(self.account.now(), Ordering::Relaxed);
        }
    }

    /// The peer has taken some bytes of it.
    pub fn note_taken(&self) {
        self.answer.taken.store(self.account.now(), Ordering::Relaxed);
        self.account.note_taken();
    }

    /// The transport is done with a piece.
    pub fn end_piece(&self) {
        self.answer.pieces.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ready once the call has to end, because nothing of its answer is taken.
    pub fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        self.answer.waker.register(context.waker());
        match self.answer.ended.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.account.0.answers().remove(&self.number);
    }
}

//! The commits of a node that wait for the answer to a question.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::position::Position;

/// Tells a commit its position; `None` if the node doesn't answer.
pub(crate) type QueuedCommit = oneshot::Sender<Option<Position>>;

/// The commits of a node that were answered without a position and wait for one.
#[derive(Default)]
pub(crate) struct CommitQueue(Mutex<QueuedCommits>);

#[derive(Default)]
struct QueuedCommits {
    /// Whether a question is on its way. It may have been sent before the commits that wait.
    is_asking: bool,
    /// What the next question answers.
    next: Vec<QueuedCommit>,
}

impl CommitQueue {
    /// Joins the next question; `None` if the caller has to ask it.
    pub(crate) fn join(&self) -> Option<oneshot::Receiver<Option<Position>>> {
        let mut queued = self.lock();
        if !queued.is_asking {
            queued.is_asking = true;
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        queued.next.push(sender);
        Some(receiver)
    }

    /// The commits that a question answers which is sent from now on. Without any, the next commit
    /// has to ask.
    pub(crate) fn next(&self) -> Vec<QueuedCommit> {
        let mut queued = self.lock();
        queued.is_asking = !queued.next.is_empty();
        std::mem::take(&mut queued.next)
    }

    /// The question will not be sent. Those who wait learn nothing.
    pub(crate) fn abandon(&self) {
        *self.lock() = QueuedCommits::default();
    }

    fn lock(&self) -> MutexGuard<'_, QueuedCommits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commit_joins_the_question_after_the_one_on_its_way() {
        let queue = CommitQueue::default();
        assert!(queue.join().is_none(), "the first one asks");
        let (second, third) = (queue.join().expect("a wait"), queue.join().expect("a wait"));
        // The first question was sent before their commits. Its answer is not theirs.
        let asked = queue.next();
        assert_eq!(asked.len(), 2);
        let fourth = queue.join().expect("a wait");
        let position = Position { system: 7, timeline: 1, number: 5 };
        for commit in asked {
            commit.send(Some(position)).expect("a commit that waits");
        }
        assert_eq!((second.await, third.await), (Ok(Some(position)), Ok(Some(position))));
        queue.abandon();
        assert!(fourth.await.is_err(), "its question was not sent");
        assert!(queue.join().is_none() && queue.next().is_empty(), "the next one asks");
        assert!(queue.join().is_none(), "no question is on its way");
    }
}

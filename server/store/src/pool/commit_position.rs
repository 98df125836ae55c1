//! The position after commits that were answered without one: one question of a node answers for
//! every commit before it.

use std::sync::Arc;

use crate::{
    pool::{
        commit_queue::QueuedCommit,
        pooled::PooledConnection,
        shared::{Pool, in_background},
    },
    position::Position,
    session::connection::driver::ServerIdentity,
};

/// The right to ask. Dropping it before the last answer, with the task that holds it, lets another
/// commit ask; those who wait learn nothing.
struct Asking {
    pool: Arc<Pool>,
    has_ended: bool,
}

impl Asking {
    /// The commits that the next question answers. Without any, another commit may ask.
    fn next(&mut self) -> Vec<QueuedCommit> {
        let commits = self.pool.commit_queue.next();
        self.has_ended = commits.is_empty();
        commits
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.has_ended {
            self.pool.commit_queue.abandon();
        }
    }
}

/// A position that covers every commit of this connection, which returns to its pool. If the node
/// doesn't answer, only the timeline is known.
pub(crate) async fn position_of_commits(pooled: PooledConnection) -> Option<Position> {
    let (pool, server, timeline) = (pooled.pool().clone(), pooled.server(), pooled.timeline());
    let position = match pool.commit_queue.join() {
        Some(next) => {
            // The connection is free for others meanwhile.
            drop(pooled);
            next.await.ok().flatten()
        }
        None => ask(pooled).await,
    };
    let position = match position {
        Some(position) => Some(position),
        // Its session may have ended behind the answer.
        None => pool.position().await,
    };
    let unknown = |server: ServerIdentity| Position {
        system: server.system,
        timeline,
        number: Position::UNKNOWN,
    };
    position.map(|position| position.on(timeline)).or_else(|| server.map(unknown))
}

/// Asks for this commit, and then in the background for those that have come meanwhile.
async fn ask(pooled: PooledConnection) -> Option<Position> {
    let mut asking = Asking { pool: pooled.pool().clone(), has_ended: false };
    let position = pooled.position_of_commits().await;
    let commits = asking.next();
    if !commits.is_empty() {
        in_background(answer(pooled, asking, commits));
    }
    position
}

async fn answer(pooled: PooledConnection, mut asking: Asking, mut commits: Vec<QueuedCommit>) {
    while !commits.is_empty() {
        let position = pooled.position_of_commits().await;
        for commit in commits {
            // Its caller may have left.
            let _ = commit.send(position);
        }
        commits = asking.next();
    }
}

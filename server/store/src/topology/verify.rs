//! Verifies the positions that reads must see.

use std::sync::Arc;

use sea_orm::DbErr;

use crate::{
    deadline::Deadline,
    error::StoreError,
    position::Position,
    topology::{
        history::{self, TimelineHistory},
        node::Node,
        nodes::Topology,
        probe::PROBE_TIMEOUT,
        snapshot::TopologySnapshot,
    },
};

impl Topology {
    /// The number that a node on the current timeline must have reached to have a position, and
    /// that timeline. On a newer timeline the position may be lost.
    ///
    /// # Errors
    /// [`StoreError::PositionLost`] if the position's timeline was left before it,
    /// [`StoreError::PositionUnverifiable`] if that can't be known.
    pub(crate) async fn number_of(
        &self,
        position: Position,
        deadline: Deadline,
    ) -> Result<(u64, u32), StoreError> {
        if position.timeline == 0 {
            return Ok((0, u32::MAX));
        }
        let (mut index, system, mut timeline) = self.current_timeline(deadline).await?;
        if system != position.system {
            return Err(StoreError::PositionUnverifiable);
        }
        if position.timeline > timeline {
            // The instance that gave the position out has seen a promotion that this one hasn't.
            if self.is_single() {
                timeline = self.nodes[0].fresh_probe(deadline).await?.timeline;
                if position.timeline > timeline {
                    return Err(StoreError::PositionUnverifiable);
                }
            } else {
                self.learn_timeline(position.timeline);
                (index, timeline) =
                    self.known_primary(deadline, self.primary_deadline(deadline)).await?;
            }
        }
        if position.timeline >= timeline {
            return Ok((position.number, timeline));
        }
        let history = self.history_of(&self.nodes[index], timeline, deadline).await?;
        match history.left_at(position.timeline) {
            Some(left) if position.number <= left => Ok((position.number, timeline)),
            _ => Err(StoreError::PositionLost),
        }
    }

    /// A node on the current timeline, its cluster, and the timeline.
    async fn current_timeline(&self, deadline: Deadline) -> Result<(usize, u64, u32), StoreError> {
        if self.is_single() {
            let seen = self.nodes[0].recent_probe(deadline).await?;
            return Ok((0, seen.system, seen.timeline));
        }
        let known = |snapshot: &TopologySnapshot| {
            let follower = snapshot.replicas.first().map(|replica| replica.node);
            Some((snapshot.primary.or(follower)?, snapshot.system?, snapshot.timeline))
        };
        if let Some(known) = known(&self.snapshot.borrow()) {
            return Ok(known);
        }
        // No node has been seen yet, or none on the learned timeline.
        self.known_primary(deadline, self.primary_deadline(deadline)).await?;
        let none = || StoreError::Unavailable(DbErr::Custom("there is no primary".into()));
        known(&self.snapshot()).ok_or_else(none)
    }

    async fn history_of(
        &self,
        node: &Node,
        timeline: u32,
        deadline: Deadline,
    ) -> Result<Arc<TimelineHistory>, StoreError> {
        let known = || self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, history)) = known().as_ref().filter(|(known, _)| *known == timeline) {
            return Ok(history.clone());
        }
        let soon = Deadline::after(deadline.remaining(PROBE_TIMEOUT));
        let read = match node.ask(soon, async |it| history::read(it, timeline).await).await {
            Ok(read) => read,
            Err(StoreError::DeadlineExceeded) if !deadline.has_passed() => {
                let message = "reading the node's timeline history took too long";
                return Err(StoreError::Unavailable(DbErr::Custom(message.into())));
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::DeadlineExceeded)) => {
                return Err(error);
            }
            Err(_) => None,
        };
        let history = Arc::new(read.ok_or(StoreError::PositionUnverifiable)?);
        *known() = Some((timeline, history.clone()));
        Ok(history)
    }
}

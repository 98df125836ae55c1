//! The route of a read that others may join: its node, and what the choice was verified against.

use std::sync::Arc;

use crate::{
    deadline::Deadline,
    error::StoreError,
    pool::pooled::PooledConnection,
    position::{Freshness, Position},
    session::connection::driver::Access,
    topology::{
        choose::{Choice, PRIMARY, ReplicaNeed, routed},
        nodes::Topology,
    },
};

/// The node that answers a read, and what makes its answer fresh enough.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The index of the node.
    pub(crate) node: usize,
    /// Its name in the metrics of reads.
    name: Arc<str>,
    /// Its timeline; 0 if it is unknown.
    timeline: u32,
    /// When the probed server of a replica was started; `None` at the primary.
    started: Option<i64>,
    /// The number that the position of the answer must have reached; 0 without a position.
    bound: u64,
    /// The newest timeline on which that number is right.
    verified_timeline: u32,
    /// Why the node was chosen.
    reason: &'static str,
}

impl Route {
    /// Whether both routes lead to the same node in the same state.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let state = |route: &Self| (route.node, route.timeline, route.started);
        state(self) == state(other)
    }

    /// Whether a replica answers.
    pub(crate) fn is_of_replica(&self) -> bool {
        self.started.is_some()
    }

    /// Whether an answer at this position is fresh enough. Without a position it is what the probe
    /// has shown.
    pub(crate) fn accepts(&self, position: Option<Position>) -> bool {
        let reached = |position: Position| {
            position.timeline <= self.verified_timeline && position.number >= self.bound
        };
        self.bound == 0 || position.is_none_or(reached)
    }
}

impl Topology {
    /// The route of a read that a node can answer at once. `None` if it must wait for a node.
    ///
    /// # Errors
    /// Those of its position, which has been waited for.
    pub(crate) async fn route(
        &self,
        freshness: Freshness,
        deadline: Deadline,
    ) -> Result<Option<Route>, StoreError> {
        let (bound, verified_timeline) = self.bound_of(freshness, deadline).await?;
        let snapshot = self.snapshot.borrow();
        let route = if self.is_single() || freshness.needs_primary() {
            let Some(node) = snapshot.primary else { return Ok(None) };
            let (name, timeline) = (PRIMARY.into(), snapshot.timeline);
            let (started, reason) = (None, "strong");
            Route { node, name, timeline, started, bound, verified_timeline, reason }
        } else {
            let usable = self.usable(&snapshot, ReplicaNeed::of(freshness, bound), &[]);
            let picked = self.less_loaded(&usable, bound);
            let Some((node, seen)) = picked else { return Ok(None) };
            let (name, timeline) = (self.nodes[node].name.clone(), seen.timeline);
            let (started, reason) = (Some(seen.started), "replica");
            Route { node, name, timeline, started, bound, verified_timeline, reason }
        };
        Ok((route.timeline <= verified_timeline).then_some(route))
    }

    /// Checks out a connection for a route. `None` if the node has another role by now, or was
    /// restarted: it may be at an earlier position than the probe has shown.
    ///
    /// # Errors
    /// What can happen to a connection.
    pub(crate) async fn check_out_route(
        &self,
        route: &Route,
        deadline: Deadline,
    ) -> Result<Option<PooledConnection>, StoreError> {
        let pooled = match route.started {
            Some(started) => self.check_out_replica(route.node, started, deadline).await?,
            None => {
                let readers = &self.nodes[route.node].readers;
                let pooled = readers.check_out(Access::ReadOnly, deadline).await?;
                let snapshot = self.snapshot.borrow();
                let now = (snapshot.primary, snapshot.timeline);
                let is_same = now == (Some(route.node), route.timeline);
                (is_same && !pooled.is_evicted()).then_some(pooled)
            }
        };
        Ok(pooled.map(|mut pooled| {
            pooled.leads_to(!route.is_of_replica(), route.timeline);
            pooled
        }))
    }

    /// Checks out a connection for a read that has a route, or to another node that is fresh enough
    /// if the route's node can't answer.
    ///
    /// # Errors
    /// Those of [`Self::reader`].
    pub(crate) async fn reader_on(
        &self,
        route: &Route,
        freshness: Freshness,
        deadline: Deadline,
    ) -> Result<Choice, StoreError> {
        match self.check_out_route(route, deadline).await {
            Ok(Some(pooled)) => {
                self.routed(route);
                Ok(Choice { node: route.node, pooled })
            }
            Ok(None) => self.reader(freshness, deadline, &[]).await,
            Err(_) if route.is_of_replica() => {
                self.reader(freshness, deadline, &[route.node]).await
            }
            // There may be another primary by now.
            Err(StoreError::Unavailable(_)) if !self.is_single() => {
                self.reader(freshness, deadline, &[]).await
            }
            Err(error) => Err(error),
        }
    }

    /// Counts a read that was answered on a route.
    pub(crate) fn routed(&self, route: &Route) {
        if !self.is_single() {
            routed(&route.name, route.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_of_a_batch_must_have_what_each_of_its_members_needs() {
        let route = |bound| Route {
            node: 1,
            name: "node".into(),
            timeline: 1,
            started: Some(7),
            bound,
            verified_timeline: 1,
            reason: "replica",
        };
        let at = |timeline, number| Some(Position { system: 7, timeline, number });
        assert!(route(5).accepts(at(1, 5)) && route(5).accepts(at(1, 6)));
        assert!(!route(5).accepts(at(1, 4)), "an earlier member's position");
        assert!(!route(5).accepts(at(2, 9)), "a promotion may have discarded the position");
        assert!(route(5).accepts(None), "what the probe has shown");
        assert!(route(0).accepts(at(2, 1)), "it needs none");
        assert!(!route(5).is_same(&Route { started: Some(8), ..route(5) }), "another start");
    }
}

//! The choice of the node for a read or a write.

use std::time::Instant;

use opentelemetry::KeyValue;
use rand::seq::IndexedRandom;
use sea_orm::DbErr;
use tokio::time::timeout;

use crate::{
    deadline::Deadline,
    error::StoreError,
    pool::pooled::PooledConnection,
    position::{Freshness, Position},
    session::{connection::driver::Access, limit::is_of_limit},
    telemetry::meters::{POSITION_WAIT, PRIMARY_WAIT, READS_ROUTED},
    topology::{nodes::Topology, probe::ProbeResult, snapshot::TopologySnapshot},
};

/// The primary's name in the metrics of reads, whichever node it is.
pub(super) const PRIMARY: &str = "primary";

/// A connection to the node that was picked.
pub(crate) struct Choice {
    /// The index of the node.
    pub node: usize,
    pub pooled: PooledConnection,
}

/// What a read needs of a replica.
#[derive(Clone, Copy)]
pub(super) struct ReplicaNeed {
    /// The position that it must have reached.
    bound: u64,
    /// Whether the lag may be unknown, since the primary's position is.
    takes_unknown: bool,
}

impl ReplicaNeed {
    /// A position is all that its caller needs, and `eventual` needs none.
    pub(super) fn of(freshness: Freshness, bound: u64) -> Self {
        Self { bound, takes_unknown: bound > 0 || freshness == Freshness::Eventual }
    }
}

fn known(snapshot: &TopologySnapshot) -> Option<(usize, u32)> {
    Some((snapshot.primary?, snapshot.timeline))
}

impl Topology {
    /// Checks out a connection to the primary for writing, and waits until there is a primary.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is none in time or too many wait, and what can
    /// happen to a connection.
    pub(crate) async fn writer(&self, deadline: Deadline) -> Result<Choice, StoreError> {
        self.primary(Access::ReadWrite, deadline, self.primary_deadline(deadline)).await
    }

    /// Checks out a read-only connection to a node that is fresh enough and isn't in `avoid`.
    ///
    /// # Errors
    /// If no such node is there in time, if a position may be lost or can't be looked into, and
    /// what can happen to a connection.
    pub(crate) async fn reader(
        &self,
        freshness: Freshness,
        deadline: Deadline,
        avoid: &[usize],
    ) -> Result<Choice, StoreError> {
        loop {
            let (bound, verified_timeline) = self.bound_of(freshness, deadline).await?;
            let choice = self.reader_at(freshness, bound, deadline, avoid).await?;
            // A promotion during the choice may have discarded the positions.
            if choice.pooled.timeline() <= verified_timeline {
                return Ok(choice);
            }
        }
    }

    /// The number that a node must have reached to answer a read, 0 without a position, and the
    /// newest timeline on which that number is right.
    ///
    /// # Errors
    /// If a position may be lost or can't be looked into.
    pub(super) async fn bound_of(
        &self,
        freshness: Freshness,
        deadline: Deadline,
    ) -> Result<(u64, u32), StoreError> {
        let (mut bound, mut verified_timeline) = (0, u32::MAX);
        for position in freshness.bounds() {
            let (number, timeline) = self.number_of(position, deadline).await?;
            (bound, verified_timeline) = (bound.max(number), verified_timeline.min(timeline));
        }
        Ok((bound, verified_timeline))
    }

    /// The same as [`Self::reader`]. A replica must have reached the position `bound`.
    async fn reader_at(
        &self,
        freshness: Freshness,
        bound: u64,
        deadline: Deadline,
        avoid: &[usize],
    ) -> Result<Choice, StoreError> {
        let end = self.primary_deadline(deadline);
        if self.is_single() {
            return self.primary(Access::ReadOnly, deadline, end).await;
        }
        if freshness.needs_primary() {
            return self.instead("strong", deadline, end).await;
        }
        let need = ReplicaNeed::of(freshness, bound);
        let mut avoid = avoid;
        loop {
            match self.replica(need, deadline, avoid).await {
                Ok(choice) => return Ok(choice),
                // None of the known nodes has it.
                Err("position") => return self.instead("position", deadline, end).await,
                Err(reason) => tokio::select! {
                    biased;
                    choice = self.instead(reason, deadline, end) => return choice,
                    // Also a node that has failed in this call: there is no other.
                    () = self.replica_returns(need) => avoid = &[],
                },
            }
        }
    }

    /// Checks out a read-only connection to the primary and notes why no replica answers.
    async fn instead(
        &self,
        reason: &'static str,
        deadline: Deadline,
        end: Deadline,
    ) -> Result<Choice, StoreError> {
        // The primary takes only a part of the load that is meant for replicas.
        let slot = match reason {
            "strong" | "position" => None,
            _ => {
                let limit = deadline.remaining(self.options.failover_wait);
                let slot = timeout(limit, self.fallback.clone().acquire_owned()).await;
                let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                Some(slot.map_err(|_| StoreError::PoolTimeout { waited_ms })?)
            }
        };
        let mut choice = self.primary(Access::ReadOnly, deadline, end).await?;
        choice.pooled.holds(slot.and_then(Result::ok));
        routed(PRIMARY, reason);
        Ok(choice)
    }

    /// Waits until a replica may answer reads while there is no primary.
    async fn replica_returns(&self, need: ReplicaNeed) {
        let mut snapshots = self.snapshot.subscribe();
        let returned = async {
            // The current snapshot has no usable replica.
            snapshots.changed().await.ok()?;
            let there = snapshots.wait_for(|snapshot| {
                snapshot.primary.is_none() && !self.usable(snapshot, need, &[]).is_empty()
            });
            there.await.ok().map(drop)
        };
        if returned.await.is_none() {
            std::future::pending().await
        }
    }

    /// Until when a call that begins now waits for a primary.
    pub(crate) fn primary_deadline(&self, deadline: Deadline) -> Deadline {
        Deadline::after(deadline.remaining(self.options.failover_wait))
    }

    async fn primary(
        &self,
        access: Access,
        deadline: Deadline,
        end: Deadline,
    ) -> Result<Choice, StoreError> {
        let began = Instant::now();
        loop {
            let (index, timeline) = self.known_primary(deadline, end).await?;
            let node = &self.nodes[index];
            if access == Access::ReadWrite
                && let Some(reason) = node.connector.refuses_writes()
            {
                return Err(StoreError::Unsuitable(reason));
            }
            let pool = match access {
                Access::ReadWrite => &node.writers,
                Access::ReadOnly => &node.readers,
            };
            match pool.check_out(access, deadline).await {
                Ok(mut pooled) => {
                    // Another primary may have been found during the checkout.
                    let now = known(&self.snapshot.borrow());
                    if pooled.is_evicted() || now.is_some_and(|now| now != (index, timeline)) {
                        continue;
                    }
                    pooled.leads_to(true, timeline);
                    return Ok(Choice { node: index, pooled });
                }
                // No statement has run, so the call may go to the next primary.
                Err(StoreError::Unavailable(error)) => {
                    if self.is_single() || end.has_passed() {
                        return Err(StoreError::Unavailable(error));
                    }
                    node.wake.notify_one();
                    tracing::debug!(node = %node.name, waited = ?began.elapsed(), "no connection");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The primary and its timeline. Waits until there is a primary.
    pub(crate) async fn known_primary(
        &self,
        deadline: Deadline,
        end: Deadline,
    ) -> Result<(usize, u32), StoreError> {
        if let Some(known) = known(&self.snapshot.borrow()) {
            return Ok(known);
        }
        let began = Instant::now();
        let none = |message: &str| StoreError::Unavailable(DbErr::Custom(message.to_owned()));
        let Ok(_slot) = self.queue.try_acquire() else {
            return Err(none("there is no primary, and too many calls wait for one"));
        };
        self.probe_soon();
        let mut snapshots = self.snapshot.subscribe();
        let found = snapshots.wait_for(|snapshot| snapshot.primary.is_some());
        let found = timeout(end.remaining(self.options.failover_wait), found).await;
        let found = found.ok().and_then(Result::ok).and_then(|snapshot| known(&snapshot));
        PRIMARY_WAIT
            .record(began.elapsed().as_secs_f64(), &[KeyValue::new("found", found.is_some())]);
        found.ok_or_else(|| match deadline.has_passed() {
            true => StoreError::DeadlineExceeded,
            false => none("there is no primary"),
        })
    }

    /// The replicas that may answer reads and aren't in `avoid`.
    pub(super) fn usable(
        &self,
        snapshot: &TopologySnapshot,
        need: ReplicaNeed,
        avoid: &[usize],
    ) -> Vec<(usize, ProbeResult)> {
        let now = Instant::now();
        let near = |lag: std::time::Duration| lag <= self.options.max_lag;
        let following = snapshot.replicas.iter().filter(|it| !avoid.contains(&it.node));
        following
            .filter(|replica| {
                snapshot.lag(replica, now).is_some_and(near)
                    || need.takes_unknown && snapshot.last_lag(replica, now).is_some_and(near)
            })
            .filter_map(|replica| {
                let node = &self.nodes[replica.node];
                let seen = (*node.probe_result.borrow())?;
                (!node.is_ejected()).then_some((replica.node, seen))
            })
            .collect()
    }

    /// Checks out a connection to a replica that has what a read needs, or returns why there is
    /// none.
    async fn replica(
        &self,
        need: ReplicaNeed,
        deadline: Deadline,
        avoid: &[usize],
    ) -> Result<Choice, &'static str> {
        let bound = need.bound;
        let usable = self.usable(&self.snapshot(), need, avoid);
        let (index, seen) = match self.less_loaded(&usable, bound) {
            Some(picked) => picked,
            None => self.nearest(&usable, bound, deadline).await?,
        };
        let node = &self.nodes[index];
        let pooled = self.check_out_replica(index, seen.started, deadline).await;
        let mut pooled = pooled.map_err(|_| "failed")?.ok_or("restarted")?;
        pooled.leads_to(false, seen.timeline);
        routed(&node.name, "replica");
        Ok(Choice { node: index, pooled })
    }

    /// The less loaded of two random ones of these nodes that have reached a position. Picking the
    /// least loaded of all would send all calls to one.
    pub(super) fn less_loaded(
        &self,
        nodes: &[(usize, ProbeResult)],
        bound: u64,
    ) -> Option<(usize, ProbeResult)> {
        let there: Vec<_> = nodes.iter().filter(|(_, seen)| seen.number >= bound).collect();
        let two = there.choose_multiple(&mut rand::rng(), 2);
        two.min_by_key(|(node, _)| self.nodes[*node].in_use()).map(|it| **it)
    }

    /// Checks out a connection to a replica whose server was started at `started`, as a probe has
    /// shown. `None` if it was restarted since: it may be at an earlier position.
    ///
    /// # Errors
    /// What can happen to a connection. The node is ejected if its connection was lost.
    pub(super) async fn check_out_replica(
        &self,
        index: usize,
        started: i64,
        deadline: Deadline,
    ) -> Result<Option<PooledConnection>, StoreError> {
        let node = &self.nodes[index];
        let pooled = node.readers.check_out(Access::ReadOnly, deadline).await;
        let pooled = pooled.inspect_err(|error| {
            // Neither a passed deadline nor a full pool is a failure of the node.
            if matches!(error, StoreError::Unavailable(_)) && !is_of_limit(error) {
                self.eject(index);
            }
        })?;
        if pooled.is_evicted() || pooled.server().is_none_or(|it| it.started != started) {
            pooled.discard();
            node.wake.notify_one();
            return Ok(None);
        }
        Ok(Some(pooled))
    }

    /// Waits until the replica that is nearest to a position reaches it.
    async fn nearest(
        &self,
        usable: &[(usize, ProbeResult)],
        bound: u64,
        deadline: Deadline,
    ) -> Result<(usize, ProbeResult), &'static str> {
        let nearest = usable.iter().max_by_key(|(_, seen)| seen.number).ok_or("no-replica")?;
        if bound == Position::UNKNOWN {
            return Err("position");
        }
        let began = Instant::now();
        let limit = deadline.remaining(self.options.replica_wait);
        let reached = timeout(limit, self.nodes[nearest.0].reaches(bound)).await;
        let reached = reached.ok().flatten();
        let attribute = KeyValue::new("reached", reached.is_some());
        POSITION_WAIT.record(began.elapsed().as_secs_f64(), &[attribute]);
        reached.map(|seen| (nearest.0, seen)).ok_or("position")
    }
}

pub(super) fn routed(node: &str, reason: &'static str) {
    READS_ROUTED.add(1, &[KeyValue::new("node", node.to_owned()), KeyValue::new("reason", reason)]);
}

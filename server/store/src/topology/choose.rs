//! The choice of the node for a read or a write.

use std::{sync::Arc, time::Instant};

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
    topology::{
        history::{self, TimelineHistory},
        node::Node,
        nodes::Topology,
        probe::{PROBE_TIMEOUT, ProbeResult},
        snapshot::TopologySnapshot,
    },
};

/// The primary's name for callers, whichever node it is.
pub(crate) const PRIMARY: &str = "primary";

/// A connection to the node that was picked.
pub(crate) struct Choice {
    /// The index of the node.
    pub node: usize,
    pub pooled: PooledConnection,
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
            let (mut bound, mut verified_timeline) = (0, u32::MAX);
            for position in freshness.bounds() {
                let (number, timeline) = self.number_of(position, deadline).await?;
                (bound, verified_timeline) = (bound.max(number), verified_timeline.min(timeline));
            }
            let choice = self.reader_at(freshness, bound, deadline, avoid).await?;
            // A promotion during the choice may have discarded the positions.
            if choice.pooled.timeline() <= verified_timeline {
                return Ok(choice);
            }
        }
    }

    /// The same. A replica must have reached the position `bound`.
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
        if freshness == Freshness::Strong {
            return self.instead("strong", deadline, end).await;
        }
        let mut avoid = avoid;
        loop {
            match self.replica(bound, deadline, avoid).await {
                Ok(choice) => return Ok(choice),
                // None of the known nodes has it.
                Err("position") => return self.instead("position", deadline, end).await,
                Err(reason) => tokio::select! {
                    biased;
                    choice = self.instead(reason, deadline, end) => return choice,
                    // Also a node that has failed in this call: there is no other.
                    () = self.replica_returns() => avoid = &[],
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
    async fn replica_returns(&self) {
        let mut snapshots = self.snapshot.subscribe();
        let returned = async {
            // The current snapshot has no usable replica.
            snapshots.changed().await.ok()?;
            let there = snapshots.wait_for(|snapshot| {
                snapshot.primary.is_none() && !self.usable(snapshot, &[]).is_empty()
            });
            there.await.ok().map(drop)
        };
        if returned.await.is_none() {
            std::future::pending().await
        }
    }

    /// Until when a call that begins now waits for a primary.
    fn primary_deadline(&self, deadline: Deadline) -> Deadline {
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
                    if pooled.is_evicted() {
                        continue;
                    }
                    pooled.leads_to(PRIMARY.into(), timeline);
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
    async fn known_primary(
        &self,
        deadline: Deadline,
        end: Deadline,
    ) -> Result<(usize, u32), StoreError> {
        let known = |snapshot: &TopologySnapshot| Some((snapshot.primary?, snapshot.timeline));
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
        avoid: &[usize],
    ) -> Vec<(usize, ProbeResult)> {
        let now = Instant::now();
        let near = |lag: std::time::Duration| lag <= self.options.max_lag;
        let following = snapshot.replicas.iter().filter(|it| !avoid.contains(&it.node));
        following
            .filter(|replica| snapshot.lag(replica, now).is_some_and(near))
            .filter_map(|replica| {
                let node = &self.nodes[replica.node];
                let seen = (*node.probe_result.borrow())?;
                (!node.is_ejected(Some(seen))).then_some((replica.node, seen))
            })
            .collect()
    }

    /// Checks out a connection to a replica that has reached `bound`, or returns why there is none.
    async fn replica(
        &self,
        bound: u64,
        deadline: Deadline,
        avoid: &[usize],
    ) -> Result<Choice, &'static str> {
        let usable = self.usable(&self.snapshot(), avoid);
        let there: Vec<_> = usable.iter().filter(|(_, seen)| seen.number >= bound).collect();
        let picked = match there.as_slice() {
            [] => self.nearest(&usable, bound, deadline).await?,
            // The less loaded of two random nodes. Picking the least loaded of all would send all
            // calls to one.
            several => {
                let two: Vec<_> = several.choose_multiple(&mut rand::rng(), 2).collect();
                let load = |it: &&&&(usize, ProbeResult)| self.nodes[it.0].in_use();
                two.iter().min_by_key(load).map(|it| ***it).ok_or("none")?
            }
        };
        let (index, seen) = picked;
        let node = &self.nodes[index];
        let pooled = node.readers.check_out(Access::ReadOnly, deadline).await;
        let mut pooled = pooled.map_err(|error| {
            // Neither a passed deadline nor a full pool is a failure of the node.
            if matches!(error, StoreError::Unavailable(_)) && !is_of_limit(&error) {
                self.eject(index);
            }
            "failed"
        })?;
        // After a restart the server may be at an earlier position than the probe has shown.
        if pooled.is_evicted() || pooled.server().is_none_or(|it| it.started != seen.started) {
            pooled.discard();
            node.wake.notify_one();
            return Err("restarted");
        }
        pooled.leads_to(node.name.clone(), seen.timeline);
        routed(&node.name, "replica");
        Ok(Choice { node: index, pooled })
    }

    /// Waits until the replica that is nearest to a position reaches it.
    async fn nearest(
        &self,
        usable: &[(usize, ProbeResult)],
        bound: u64,
        deadline: Deadline,
    ) -> Result<(usize, ProbeResult), &'static str> {
        let nearest = usable.iter().max_by_key(|(_, seen)| seen.number).ok_or("no-replica")?;
        let began = Instant::now();
        let limit = deadline.remaining(self.options.replica_wait);
        let reached = timeout(limit, self.nodes[nearest.0].reaches(bound)).await;
        let reached = reached.ok().flatten();
        let attribute = KeyValue::new("reached", reached.is_some());
        POSITION_WAIT.record(began.elapsed().as_secs_f64(), &[attribute]);
        reached.map(|seen| (nearest.0, seen)).ok_or("position")
    }

    /// The number that a node on the current timeline must have reached to have a position, and
    /// that timeline. On a newer timeline the position may be lost.
    ///
    /// # Errors
    /// [`StoreError::PositionLost`] if the position's timeline was left before it,
    /// [`StoreError::PositionUnverifiable`] if that can't be known.
    pub(super) async fn number_of(
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
        // The connection is that of the probes, which bounds how long it can be held.
        let soon = Deadline::after(deadline.remaining(PROBE_TIMEOUT));
        let ask = || node.control.ask(soon, async |it| history::read(it, timeline).await);
        let read = match ask().await {
            // The node may have been restarted since the connection was opened.
            Err(StoreError::Unavailable(_)) => ask().await,
            read => read,
        };
        let read = match read {
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

fn routed(node: &str, reason: &'static str) {
    READS_ROUTED.add(1, &[KeyValue::new("node", node.to_owned()), KeyValue::new("reason", reason)]);
}

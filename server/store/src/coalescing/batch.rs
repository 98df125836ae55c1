//! A batch: one statement for the rows of many reads.

use std::{collections::HashSet, sync::Arc};

use sea_orm::{ConnectionTrait, DbErr};
use tokio::task::yield_now;
use uuid::Uuid;

use crate::{
    coalescing::{
        queue::{Found, Member, QueueKey, Queues, Reply},
        row::SharedRows,
    },
    deadline::Deadline,
    error::StoreError,
    pool::shared::in_background,
    position::Position,
    serving_node::ServingNode,
    session::rows,
    telemetry::meters::{BATCHES, READS_COALESCED},
    topology::{nodes::Topology, route::Route},
};

/// The most that the rows of a batch may hold together, in bytes. What is beyond is read alone,
/// since a row counts for its own call only once it is handed over.
const BATCH_BYTES: usize = 1 << 20;

/// A running statement of a queue: a read of its own or a batch. Dropping it starts the next batch.
pub(crate) struct RunningStatement {
    queues: Arc<Queues>,
    topology: Arc<Topology>,
    key: QueueKey,
    number: u64,
}

impl RunningStatement {
    pub(super) fn new(
        queues: &Arc<Queues>,
        topology: &Arc<Topology>,
        key: QueueKey,
        number: u64,
    ) -> Self {
        Self { queues: queues.clone(), topology: topology.clone(), key, number }
    }

    /// Reads the rows of these members, in a task: no caller that leaves ends it for the others.
    pub(super) fn start(self, members: Vec<Member>) {
        in_background(async move {
            run(&self.topology, self.key, members).await;
        });
    }

    /// The same for those that wait now, and for the calls that are ready to run: they join before
    /// the batch takes its members.
    fn start_next(self) {
        let mut next = NextBatch(Some(self));
        in_background(async move {
            yield_now().await;
            if let Some(statement) = next.0.take() {
                let members = statement.queues.take(statement.key);
                run(&statement.topology, statement.key, members).await;
            }
        });
    }
}

impl Drop for RunningStatement {
    fn drop(&mut self) {
        if let Some(number) = self.queues.ended(self.key, self.number) {
            Self::new(&self.queues, &self.topology, self.key, number).start_next();
        }
    }
}

/// A batch that has not begun.
struct NextBatch(Option<RunningStatement>);

impl Drop for NextBatch {
    fn drop(&mut self) {
        // The runtime ends before the batch has begun, and would drop the next one too. Those that
        // wait read alone.
        if let Some(statement) = &self.0 {
            while !statement.queues.take(statement.key).is_empty() {}
        }
    }
}

/// What a batch has read.
struct BatchRows {
    rows: Arc<SharedRows>,
    /// Whether rows stayed unread because of the size.
    cut: bool,
    node: ServingNode,
    position: Option<Position>,
}

async fn run(topology: &Topology, key: QueueKey, mut members: Vec<Member>) {
    members.retain(|member| !member.reply.is_closed());
    let Some(first) = members.first() else { return };
    let route = first.route.clone();
    // The others have seen another start or another timeline of the node.
    let (mut members, others): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.route.is_same(&route));
    for other in others {
        // A caller may have left.
        let _ = other.reply.send(Reply::Alone);
    }
    let mut seen = HashSet::with_capacity(members.len());
    let ids = members.iter().flat_map(|member| member.ids.iter().copied());
    let ids = ids.filter(|id| seen.insert(*id)).collect();
    let latest = |of: fn(&Member) -> Deadline| members.iter().map(of).reduce(Deadline::later);
    let ends = (latest(|it| it.deadline), latest(|it| it.end));
    let ends = (ends.0.unwrap_or_default(), ends.1.unwrap_or_default());
    let read = tokio::select! {
        read = read(topology, key, &route, ids, ends) => read,
        // Dropping the statement cancels it.
        () = all_left(&mut members) => return,
    };
    if members.len() > 1 {
        BATCHES.add(1, &[]);
        READS_COALESCED.add(members.len() as u64, &[]);
    }
    for member in members {
        let reply = reply_to(&member, key.1.has_related, &read);
        let _ = member.reply.send(reply);
    }
}

/// Waits until no member waits any more.
async fn all_left(members: &mut [Member]) {
    for member in members {
        member.reply.closed().await;
    }
}

fn reply_to(
    member: &Member,
    has_related: bool,
    read: &Result<Option<BatchRows>, StoreError>,
) -> Reply {
    let read = match read {
        Ok(Some(read)) if member.route.accepts(read.position) => read,
        // Instead of a replica another node may answer.
        Err(StoreError::PoolTimeout { waited_ms }) if !member.route.is_of_replica() => {
            return Reply::PoolTimeout { waited_ms: *waited_ms };
        }
        Ok(_) | Err(_) => return Reply::Alone,
    };
    // Of an id that has rows some may be unread.
    let is_unread = |id: &Uuid| has_related || !read.rows.has(*id);
    let (size, weight) = read.rows.sizes(&member.ids);
    if read.cut && member.ids.iter().any(is_unread) || size > member.most {
        return Reply::Alone;
    }
    let (rows, node) = (read.rows.clone(), read.node.clone());
    Reply::Rows(Found { rows, weight, node, position: read.position })
}

/// Reads the rows in one statement; `None` if the node's role or server has changed.
async fn read(
    topology: &Topology,
    (_, kind): QueueKey,
    route: &Route,
    ids: Vec<Uuid>,
    (deadline, end): (Deadline, Deadline),
) -> Result<Option<BatchRows>, StoreError> {
    let Some(pooled) = topology.check_out_route(route, deadline).await? else { return Ok(None) };
    pooled.set_deadline(deadline);
    pooled.set_read_end(end);
    let statement = (kind.statement)(pooled.get_database_backend(), kind.form, &ids);
    let lost = || StoreError::Unavailable(DbErr::Custom("the node is gone".into()));
    let is_primary = topology.is_primary(route.node);
    let answer = tokio::select! {
        answer = pooled.cached_up_to(statement, BATCH_BYTES) => answer?,
        () = pooled.evicted() => return Err(lost()),
        // Each member may go to another node.
        () = topology.is_left(route.node, is_primary) => return Err(lost()),
    };
    let mut rows = SharedRows::with_capacity(ids.len());
    for (row, size) in answer.rows {
        let (id, weight) = (row.try_get("", "id")?, rows::weight(&row));
        rows.add(id, row, size, weight);
    }
    let position = pooled.position(pooled.timeline()).await;
    Ok(Some(BatchRows { rows: Arc::new(rows), cut: answer.cut, node: pooled.node(), position }))
}

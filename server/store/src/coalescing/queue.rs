//! The reads that wait for a batch: one queue for each node and kind of rows.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    coalescing::row::{RowKind, RowsById, SharedRows},
    deadline::Deadline,
    position::Position,
    serving_node::ServingNode,
    topology::route::Route,
};

/// How many statements of a kind run on a node before further reads wait. With two, the database
/// reads one batch while the other one's rows are answered.
const STATEMENTS: usize = 2;

/// A statement that runs for so long counts no more, and a read that has waited for so long starts
/// the next batch. So a statement that hangs delays the others by this time only.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The most ids of a batch.
const IDS: usize = 256;

/// The most ids of a read that joins a batch. One with more runs its own statement.
pub(super) const IDS_OF_MEMBER: usize = 64;

/// A node, by its index, and a kind of rows.
pub(super) type QueueKey = (usize, RowKind);

/// A read that waits for a batch. It has left if its receiver is dropped.
pub(super) struct Member {
    pub(super) ids: Vec<Uuid>,
    /// The most bytes of its rows.
    pub(super) most: usize,
    /// The node, and what its choice was verified against.
    pub(super) route: Route,
    pub(super) deadline: Deadline,
    /// When `database_read_timeout` ends the read.
    pub(super) end: Deadline,
    since: Instant,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What a batch gives to one of its members.
pub(super) enum Reply {
    /// The rows, or that there are none.
    Rows(Found),
    /// The batch has failed, or its answer is not enough for this member: it reads alone.
    Alone,
    /// The batch got no connection in time.
    PoolTimeout {
        /// How long it waited, in milliseconds.
        waited_ms: u64,
    },
}

/// The answer to one read of a batch.
pub(crate) struct Found {
    /// The rows of the batch, the member's among them.
    pub(crate) rows: Arc<SharedRows>,
    /// The memory that the member's rows take, in bytes.
    pub(super) weight: usize,
    /// The node that answered.
    pub(crate) node: ServingNode,
    /// A position that covers the read.
    pub(crate) position: Option<Position>,
}

/// All queues.
#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<QueueKey, ReadQueue>>);

#[derive(Default)]
struct ReadQueue {
    /// The statements that run: a number for each, and when it began.
    running: Vec<(u64, Instant)>,
    next: u64,
    members: VecDeque<Member>,
}

/// The place of a read in its queue.
pub(super) enum Joined {
    /// It runs at once, as the statement of this number.
    First(u64),
    /// It waits for a batch.
    Waits(oneshot::Receiver<Reply>),
}

impl ReadQueue {
    fn begin(&mut self) -> u64 {
        self.next += 1;
        self.running.push((self.next, Instant::now()));
        self.next
    }

    fn take(&mut self) -> Vec<Member> {
        let mut ids = 0;
        let fits = |member: &&Member| {
            ids += member.ids.len();
            ids <= IDS
        };
        let count = self.members.iter().take_while(fits).count();
        self.members.drain(..count).collect()
    }
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, HashMap<QueueKey, ReadQueue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read joins the queue of its node and kind.
    pub(super) fn join(
        &self,
        key: QueueKey,
        rows: RowsById<'_>,
        route: Route,
        (deadline, end): (Deadline, Deadline),
    ) -> Joined {
        let mut queues = self.lock();
        let queue = queues.entry(key).or_default();
        let recent = |(_, began): &&(u64, Instant)| began.elapsed() < PATIENCE;
        if queue.running.iter().filter(recent).count() < STATEMENTS {
            return Joined::First(queue.begin());
        }
        let (reply, receiver) = oneshot::channel();
        let since = Instant::now();
        let (ids, most) = (rows.ids.to_vec(), rows.most);
        queue.members.push_back(Member { ids, most, route, deadline, end, since, reply });
        Joined::Waits(receiver)
    }

    /// The statement of this number has ended. Those that wait are the next batch, under the new
    /// number that this returns.
    pub(super) fn ended(&self, key: QueueKey, number: u64) -> Option<u64> {
        let mut queues = self.lock();
        let queue = queues.get_mut(&key)?;
        queue.running.retain(|(running, _)| *running != number);
        (!queue.members.is_empty()).then(|| queue.begin())
    }

    /// The members of a batch that begins now. There are none if another batch has taken them.
    pub(super) fn take(&self, key: QueueKey) -> Vec<Member> {
        self.lock().get_mut(&key).map(ReadQueue::take).unwrap_or_default()
    }

    /// The next batch, if its first member has waited for [`PATIENCE`].
    pub(super) fn overdue(&self, key: QueueKey) -> Option<(u64, Vec<Member>)> {
        let mut queues = self.lock();
        let queue = queues.get_mut(&key)?;
        let first = queue.members.front()?;
        (first.since.elapsed() >= PATIENCE).then(|| (queue.begin(), queue.take()))
    }
}

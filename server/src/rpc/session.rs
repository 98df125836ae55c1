//! The session of a client's connection: what it has written and read, and what its next read must
//! see.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bookstore_store::{
    Bounds, Committed, Deadline, Freshness, Position, StoreError, WriteObserver,
};
use tokio::{sync::Notify, task::yield_now, time::timeout};

use super::consistency::Consistency;

/// How long a read waits for earlier writes of its session whose callers have left. A commit that
/// waits for synchronous replicas may take longer: GetOutcome answers what became of it.
const SETTLING: Duration = Duration::from_secs(1);

/// The last position that a client's connection has written or read. Each of its reads needs at
/// least this position, so that a session never goes back.
#[derive(Clone, Debug, Default)]
pub struct SessionCell(Arc<SessionState>);

#[derive(Debug, Default)]
struct SessionState {
    positions: Mutex<SessionPositions>,
    /// Notified when a write has ended whose caller had left.
    ended: Notify,
    /// How many writes run.
    running: AtomicU64,
    /// How many callers have left a write that ran.
    departures: AtomicU64,
}

#[derive(Debug, Default)]
struct SessionPositions {
    last: Option<Position>,
    /// The last positions on older timelines, as they were noted, until a read has verified that
    /// the failovers did not lose them.
    unverified: Vec<Position>,
    /// How many commits of unknown outcome there were since the last read at the primary.
    unknown_commits: u32,
    /// How many writes run whose callers have left.
    abandoned: u32,
}

impl SessionPositions {
    /// Keeps a position on an older timeline. Of several on the same one the last covers the others.
    fn keep_unverified(&mut self, position: Position) {
        let is_covered =
            |it: &Position| (it.system, it.timeline) == (position.system, position.timeline);
        let covered = self.unverified.iter().position(is_covered);
        let covered = covered.map(|at| self.unverified.remove(at));
        // Beside the last position and a token.
        if self.unverified.len() + 2 >= Bounds::MOST {
            self.unverified.remove(0);
        }
        self.unverified.push(covered.map_or(position, |it| it.later(position)));
    }
}

impl SessionCell {
    /// How fresh a node must be that answers a read, with the token that the caller sends.
    pub fn freshness(&self, consistency: Consistency, token: Option<Position>) -> Freshness {
        match (consistency, token) {
            (Consistency::Strong, _) => Freshness::Strong,
            (Consistency::Session, token) => {
                let known = self.lock();
                let positions = known.unverified.iter().copied().chain(known.last).chain(token);
                let mut bounds = Bounds::of(positions);
                bounds.unknown_commits = known.unknown_commits;
                // A write that has not ended may have happened.
                bounds.primary_only = known.unknown_commits > 0 || known.abandoned > 0;
                match bounds.is_empty() {
                    true => Freshness::Session(None),
                    false => Freshness::All(bounds),
                }
            }
            (Consistency::Eventual | Consistency::AtLeast, Some(token)) => {
                Freshness::AtLeast(token)
            }
            (Consistency::Eventual | Consistency::AtLeast, None) => Freshness::Eventual,
        }
    }

    /// Notes how far the session has come: never back.
    pub fn note(&self, position: Position) {
        let mut known = self.lock();
        let last = known.last.unwrap_or(position);
        let later = last.later(position);
        known.last = Some(later);
        // The answer of a write on the former primary may come after that of a read on the next.
        if last.timeline != position.timeline {
            known.keep_unverified(if later == last { position } else { last });
        }
    }

    /// Notes a commit of unknown outcome: the next read goes to the primary, which knows it.
    pub fn note_unknown_commit(&self) {
        self.lock().unknown_commits += 1;
    }

    /// A read of the session has seen what it had to see, up to this position.
    pub fn verified(&self, freshness: Freshness, position: Option<Position>) {
        let Freshness::All(bounds) = freshness else { return };
        let mut known = self.lock();
        known.unverified.retain(|position| !bounds.contains(position));
        known.unknown_commits -= bounds.unknown_commits.min(known.unknown_commits);
        // Where a write's position is unknown, that of the primary after it takes its place.
        if let (Some(last), Some(position)) = (known.last, position)
            && last.is_unknown()
            && bounds.contains(&last)
            && position.timeline == last.timeline
        {
            known.last = Some(position);
        }
    }

    /// Forgets the position, after an error that says that it may be lost.
    pub fn forget(&self) {
        let mut known = self.lock();
        *known = SessionPositions { abandoned: known.abandoned, ..SessionPositions::default() };
    }

    /// Waits, for a second at most, until the writes have ended whose callers have left. Returns how
    /// many callers had left by then.
    ///
    /// The transport drops a cancelled call in a task of its own, which may run after that of a read
    /// that came later. A read whose session has had another departure at its end may have missed
    /// that write.
    pub async fn settled(&self, deadline: Deadline) -> u64 {
        if self.0.running.load(Ordering::Acquire) > 0 {
            // Behind the tasks that were woken before this one.
            yield_now().await;
        }
        let departures = self.departures();
        let all_ended = async {
            loop {
                let ended = self.0.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if self.lock().abandoned == 0 {
                    return;
                }
                ended.await;
            }
        };
        if self.lock().abandoned > 0 {
            let _ = timeout(deadline.remaining(SETTLING), all_ended).await;
        }
        departures
    }

    /// How many callers have left a write that ran.
    pub fn departures(&self) -> u64 {
        self.0.departures.load(Ordering::Acquire)
    }

    /// Notes how a write has ended.
    fn note_end(&self, result: &Result<Committed, StoreError>) {
        match result {
            Ok(committed) => {
                if let Some(position) = committed.position {
                    self.note(position);
                }
            }
            Err(StoreError::CommitOutcomeUnknown(_)) => self.note_unknown_commit(),
            Err(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, SessionPositions> {
        self.0.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write of a session, which the session learns of even if its caller leaves.
#[derive(Debug)]
pub struct SessionWrite {
    session: SessionCell,
    state: AtomicU8,
}

/// The states of a [`SessionWrite`].
const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const ABANDONED: u8 = 2;
const ENDED: u8 = 3;

impl SessionWrite {
    /// A write that has not begun yet.
    pub fn new(session: SessionCell) -> Arc<Self> {
        Arc::new(Self { session, state: AtomicU8::new(WAITING) })
    }

    /// The write and what its caller holds: dropped before the write's end, it shows that the caller
    /// has left.
    pub fn held(self: &Arc<Self>) -> WriteHandle {
        WriteHandle(self.clone())
    }

    /// Wakes the reads that wait for this write.
    fn end(&self) {
        let before = self.state.swap(ENDED, Ordering::AcqRel);
        if let RUNNING | ABANDONED = before {
            self.session.0.running.fetch_sub(1, Ordering::AcqRel);
        }
        if before == ABANDONED {
            self.session.lock().abandoned -= 1;
            self.session.0.ended.notify_waiters();
        }
    }
}

impl WriteObserver for SessionWrite {
    fn begun(&self) {
        self.session.0.running.fetch_add(1, Ordering::AcqRel);
        self.state.store(RUNNING, Ordering::Release);
    }

    fn ended(&self, result: &Result<Committed, StoreError>) {
        self.session.note_end(result);
        self.end();
    }
}

impl Drop for SessionWrite {
    /// A task that panics drops the write without its end. Reads would wait for it.
    fn drop(&mut self) {
        self.end();
    }
}

/// Held by the caller of a [`SessionWrite`].
#[derive(Debug)]
pub struct WriteHandle(Arc<SessionWrite>);

impl Drop for WriteHandle {
    fn drop(&mut self) {
        let SessionWrite { session, state } = &*self.0;
        // Under the lock, so that the end is counted after it.
        let mut known = session.lock();
        let order = Ordering::AcqRel;
        if state.compare_exchange(RUNNING, ABANDONED, order, Ordering::Acquire).is_ok() {
            known.abandoned += 1;
            session.0.departures.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeline: u32, number: u64) -> Position {
        Position { system: 7, timeline, number }
    }

    fn bounds(session: &SessionCell) -> Bounds {
        match session.freshness(Consistency::Session, None) {
            Freshness::All(bounds) => bounds,
            _ => Bounds::default(),
        }
    }

    #[test]
    fn every_position_of_an_older_timeline_is_verified() {
        let session = SessionCell::default();
        assert_eq!(session.freshness(Consistency::Session, None), Freshness::Session(None));
        for timeline in 1..=3 {
            session.note(at(timeline, 5));
        }
        let before = bounds(&session);
        assert!((1..=3).all(|timeline| before.contains(&at(timeline, 5))), "{before:?}");
        // Another failover during the read.
        session.note(at(4, 1));
        session.verified(Freshness::All(before), Some(at(3, 9)));
        let after = bounds(&session);
        assert!(after.contains(&at(4, 1)) && !after.contains(&at(1, 5)), "{after:?}");
    }

    /// A write on the former primary, whose answer is late.
    #[test]
    fn a_position_of_an_older_timeline_that_is_noted_late_is_verified() {
        let session = SessionCell::default();
        session.note(at(3, 4));
        for position in [at(1, 5), at(2, 4), at(2, 6), at(2, 5)] {
            session.note(position);
        }
        let noted = bounds(&session);
        for position in [at(1, 5), at(2, 6), at(3, 4)] {
            assert!(noted.contains(&position), "{position:?} in {noted:?}");
        }
        assert!(!noted.contains(&at(2, 4)) && !noted.contains(&at(2, 5)), "{noted:?}");
        session.note(at(4, 1));
        let noted = bounds(&session);
        assert!(noted.contains(&at(4, 1)) && noted.contains(&at(3, 4)), "{noted:?}");
        assert!(!noted.contains(&at(1, 5)), "the first one goes: {noted:?}");
    }

    #[test]
    fn unknown_commit_is_looked_for_at_the_primary() {
        let session = SessionCell::default();
        session.note(at(1, 5));
        session.note_unknown_commit();
        let first = bounds(&session);
        assert_eq!(first.unknown_commits, 1);
        // Another one while the first read runs.
        session.note_unknown_commit();
        session.verified(Freshness::All(first), Some(at(1, 6)));
        assert_eq!(bounds(&session).unknown_commits, 1);
        session.verified(Freshness::All(bounds(&session)), Some(at(1, 7)));
        assert_eq!(bounds(&session).unknown_commits, 0);
    }

    #[test]
    fn unknown_position_is_replaced_by_that_of_a_read() {
        let session = SessionCell::default();
        let unknown = at(1, u64::MAX);
        session.note(unknown);
        let read = bounds(&session);
        assert!(read.contains(&unknown));
        session.note(at(1, 9));
        assert!(bounds(&session).contains(&unknown), "a read that began before");
        session.verified(Freshness::All(read), Some(at(1, 9)));
        assert!(!bounds(&session).contains(&unknown));
        assert!(bounds(&session).contains(&at(1, 9)));
    }

    #[tokio::test]
    async fn reads_wait_for_writes_whose_callers_have_left() {
        let session = SessionCell::default();
        let write = SessionWrite::new(session.clone());
        let held = write.held();
        write.begun();
        assert_eq!(session.settled(Deadline::NONE).await, 0);
        drop(held);
        assert_eq!(session.departures(), 1);
        let waits = timeout(Duration::from_millis(20), session.settled(Deadline::NONE)).await;
        assert!(waits.is_err(), "the write runs");
        let unknown = StoreError::CommitOutcomeUnknown(sea_orm::DbErr::Custom(String::new()));
        write.ended(&Err(unknown));
        session.settled(Deadline::NONE).await;
        assert_eq!(bounds(&session).unknown_commits, 1);
    }

    #[tokio::test]
    async fn no_read_waits_for_a_write_whose_task_has_panicked() {
        for leaves_first in [true, false] {
            let session = SessionCell::default();
            let write = SessionWrite::new(session.clone());
            let held = write.held();
            write.begun();
            // The task drops the write as it unwinds.
            if leaves_first {
                drop(held);
                assert_eq!(session.lock().abandoned, 1);
                drop(write);
            } else {
                drop(write);
                drop(held);
            }
            assert_eq!(session.lock().abandoned, 0, "{leaves_first}");
        }
    }
}

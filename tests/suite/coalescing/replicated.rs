//! Reads that share statements beside replicas: each sees what its token says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bookstore_store::{
    Deadline, Freshness, Limit, PoolOptions, Position, StatementLog, Store, StoreError,
    StoreOptions, TopologyOptions,
};
use bookstore_tests::{Replicated, SOON, until};
use sea_orm::ConnectionTrait;
use tokio::task::JoinHandle;

use super::{Counts, Read, id, kind};
use crate::store::{act, call};

/// A store on a primary and its replicas.
struct Fixture {
    cluster: Replicated,
    store: Store,
    counts: Arc<Counts>,
}

impl Fixture {
    async fn start(replicas: usize) -> Self {
        let cluster = Replicated::start(replicas).await;
        let node = |node| (cluster.name(node), cluster.url("bookstore_app", node));
        let store = Store::new(StoreOptions {
            nodes: (0..=replicas).map(node).collect(),
            topology: TopologyOptions::default(),
            sealing_key: None,
            pool: PoolOptions { size: 8, timeout: SOON, ..PoolOptions::default() },
            command_timeout: SOON,
            read_timeout: SOON,
            statement_log: StatementLog::default(),
        });
        let store = store.expect("a store");
        store.follow();
        Self { cluster, store, counts: Arc::default() }
    }

    /// Creates the category of a number; returns the position of its commit.
    async fn create(&self, number: usize) -> Position {
        let sql = format!(
            "INSERT INTO categories (id, name, created_at, updated_at, version) \
             VALUES ('{}', 'category {number}', now(), now(), 1)",
            id(number)
        );
        let insert = act(move |connection| {
            let sql = sql.clone();
            Box::pin(async move { Ok(connection.execute_unprepared(&sql).await.map(drop)?) })
        });
        let committed = self.store.run(call(Deadline::NONE), insert).await.expect("a commit");
        committed.position.expect("a position")
    }

    /// Callers that read the first category until they are stopped; none may fail.
    fn callers(&self, count: usize, freshness: Freshness) -> Callers {
        let (done, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let caller = |_| {
            let (store, counts) = (self.store.clone(), self.counts.clone());
            let (done, answers) = (done.clone(), answers.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    read(&store, &counts, 1, freshness).await.expect("a read without failure");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let callers = (0..count).map(caller).collect();
        Callers { done, answers, callers }
    }
}

/// Reads the category of a number; returns the role of the node that answered.
async fn read(
    store: &Store,
    counts: &Arc<Counts>,
    number: usize,
    freshness: Freshness,
) -> Result<&'static str, StoreError> {
    let query = Read { id: id(number), counts: counts.clone(), held: false, kind: kind() };
    let read = store.read(freshness, Deadline::NONE, Limit::Call, None, &query).await;
    assert_eq!(read.result?.name, format!("category {number}"));
    Ok(read.node.expect("a node").role())
}

struct Callers {
    done: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<()>>,
}

impl Callers {
    /// Waits for so many more answers.
    async fn until_more(&self, answers: usize) {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        until("reads go on", SOON, async || {
            assert!(!self.callers.iter().any(JoinHandle::is_finished), "a read has failed");
            self.answers.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    async fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("reads without failure");
        }
    }
}

/// Batches at a replica that is late are not for reads with a newer token.
#[tokio::test]
async fn token_is_checked_before_a_batch_is_joined() {
    let fixture = Fixture::start(1).await;
    let first = fixture.create(1).await;
    fixture.cluster.caught_up(0, 1).await;
    let (store, counts) = (&fixture.store, &fixture.counts);
    until("the replica answers", SOON, async || {
        let node = read(store, counts, 1, Freshness::AtLeast(first)).await.expect("a read");
        node == "replica"
    })
    .await;
    fixture.cluster.delay(1, Duration::from_secs(3600)).await;
    let callers = fixture.callers(16, Freshness::Eventual);
    callers.until_more(100).await;
    let before = fixture.counts.shared();
    for number in 2..=20 {
        let position = fixture.create(number).await;
        // Several, so that they share statements at the primary.
        let reads = (0..4).map(|_| read(store, counts, number, Freshness::AtLeast(position)));
        for node in futures_util::future::join_all(reads).await {
            assert_eq!(node.expect("a category that its token covers"), "primary");
        }
    }
    callers.until_more(100).await;
    until("the callers share statements meanwhile", SOON, async || {
        fixture.counts.shared() > before + 100
    })
    .await;
    // The replica catches up. Then it answers such reads too, in batches.
    fixture.cluster.delay(1, Duration::ZERO).await;
    fixture.cluster.caught_up(0, 1).await;
    let position = fixture.create(21).await;
    until("the replica has the token's position", SOON, async || {
        let node = read(store, counts, 21, Freshness::AtLeast(position)).await;
        node.expect("a category that its token covers") == "replica"
    })
    .await;
    callers.end().await;
}

/// A replica that hangs or is lost fails no read, although many wait for the same statement.
#[tokio::test]
async fn batch_on_a_lost_replica_is_read_elsewhere() {
    let mut fixture = Fixture::start(2).await;
    let first = fixture.create(1).await;
    for node in [1, 2] {
        fixture.cluster.caught_up(0, node).await;
    }
    let callers = fixture.callers(16, Freshness::AtLeast(first));
    callers.until_more(200).await;
    until("the callers share statements", SOON, async || fixture.counts.shared() > 0).await;
    fixture.cluster.freeze(1);
    callers.until_more(500).await;
    fixture.cluster.thaw(1);
    callers.until_more(200).await;
    fixture.cluster.kill(2).await;
    callers.until_more(500).await;
    let before = fixture.counts.shared();
    callers.until_more(200).await;
    until("the callers share statements again", SOON, async || fixture.counts.shared() > before)
        .await;
    callers.end().await;
}

/// After a failover a batch on the former primary answers no strong read.
#[tokio::test]
async fn strong_reads_share_statements_at_the_current_primary_only() {
    let mut fixture = Fixture::start(1).await;
    fixture.create(1).await;
    fixture.cluster.caught_up(0, 1).await;
    let callers = fixture.callers(16, Freshness::Strong);
    callers.until_more(200).await;
    until("the callers share statements", SOON, async || fixture.counts.shared() > 0).await;
    // It answers nothing more, and closes nothing.
    fixture.cluster.freeze(0);
    fixture.cluster.promote(1).await;
    callers.until_more(200).await;
    let position = fixture.create(2).await;
    assert_eq!(position.timeline, 2);
    // The former primary goes on.
    fixture.cluster.thaw(0);
    let (store, counts) = (&fixture.store, &fixture.counts);
    for _ in 0..100 {
        let node = read(store, counts, 2, Freshness::Strong).await.expect("the new row");
        assert_eq!(node, "primary");
    }
    callers.end().await;
    fixture.cluster.kill(0).await;
}

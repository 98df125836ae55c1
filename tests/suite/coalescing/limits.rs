//! The limits of batches: time, memory and size; and their plans.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_store::{Deadline, Freshness, Meter, RowKind, StoreError};
use bookstore_tests::{Database, Engine, SOON, on_every_engine, until, until_within};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::{runtime, task::JoinHandle};

use super::{Fixture, STATEMENTS, id, joined, name};

on_every_engine!(
    deadline_of_a_read_in_a_batch_is_its_own,
    rows_of_a_batch_count_for_their_own_calls,
    rows_beyond_the_size_of_a_batch_are_read_alone,
    runtime_that_ends_takes_its_reads_along,
    plans_of_batches_are_generic except sqlite,
    batch_is_cancelled_when_all_have_left except sqlite,
);

async fn deadline_of_a_read_in_a_batch_is_its_own(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    let begin = || {
        let soon = Deadline::after(Duration::from_millis(20));
        let late = fixture.begin(fixture.query(2, false), soon);
        let others = fixture.reads([3, 4]);
        std::iter::once(late).chain(others).collect()
    };
    let (first, mut others) = fixture.queued(begin).await;
    let late = others.remove(0).await.expect("no panic").result;
    assert!(matches!(late, Err(StoreError::DeadlineExceeded)), "{late:?}");
    assert_eq!(fixture.counts.shared(), 0, "the batch has not been answered yet");
    fixture.release();
    for (number, read) in [3, 4].into_iter().zip(others) {
        assert_eq!(name(read).await, format!("category {number}"));
    }
    for read in first {
        assert_eq!(name(read).await, "category 1");
    }
}

/// Counts bytes, up to a limit.
#[derive(Debug)]
struct Bytes(AtomicUsize, usize);

impl Meter for Bytes {
    fn grow(&self, bytes: usize) -> bool {
        self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.1
    }

    fn reset(&self) {}

    fn store(&self, _: usize) -> bool {
        true
    }
}

async fn rows_of_a_batch_count_for_their_own_calls(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    fixture.change(2, &format!("description = '{}'", "x".repeat(5_000))).await;
    let meters: Vec<_> = (0..4).map(|_| Arc::new(Bytes(AtomicUsize::new(0), 4_000))).collect();
    let begin = || {
        let metered = |(number, meter): (usize, &Arc<Bytes>)| {
            meter.0.store(0, Ordering::Relaxed);
            let query = fixture.query(number, false);
            fixture.begin_metered(query, Deadline::NONE, Some(meter.clone()))
        };
        (1..=4).zip(&meters).map(metered).collect()
    };
    let (first, reads) = fixture.queued(begin).await;
    fixture.release();
    for (number, read) in (1..).zip(reads) {
        match number {
            2 => {
                let result = read.await.expect("no panic").result;
                assert!(matches!(result, Err(StoreError::Overloaded)), "{result:?}");
            }
            _ => assert_eq!(name(read).await, format!("category {number}")),
        }
    }
    for (number, meter) in (1..).zip(&meters) {
        let counted = meter.0.load(Ordering::Relaxed);
        let row = if number == 2 { 5_000..6_000 } else { 60..1_000 };
        assert!(row.contains(&counted), "{number}: {counted} bytes");
    }
    drop(first);
}

async fn rows_beyond_the_size_of_a_batch_are_read_alone(engine: Engine) {
    let fixture = Fixture::start(engine, 200).await;
    // 2 MB together.
    let description = format!("description = '{}'", "x".repeat(10_000));
    fixture.database.sql(&format!("UPDATE categories SET {description}")).await;
    let (first, reads) = fixture.queued(|| fixture.reads(1..=200)).await;
    fixture.release();
    for (number, read) in (1..).zip(reads) {
        assert_eq!(name(read).await, format!("category {number}"));
    }
    let (alone, shared) = (fixture.counts.alone(), fixture.counts.shared());
    assert!(shared >= 50, "{shared} reads took their row out of a batch");
    assert!(alone >= STATEMENTS + 80, "{alone} reads ran alone");
    drop(first);
}

async fn plans_of_batches_are_generic(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    let reader = fixture.store.reader(Freshness::Strong, Deadline::NONE).await.expect("a reader");
    let RowKind { form, statement, .. } = fixture.query(1, false).kind;
    for _ in 0..20 {
        reader
            .cached_up_to(statement(DbBackend::Postgres, form, &[id(1), id(2)]), 1 << 20)
            .await
            .expect("rows");
    }
    let sql = "SELECT generic_plans, custom_plans FROM pg_prepared_statements \
               WHERE statement LIKE '%categories%' AND generic_plans + custom_plans > 10";
    let plans = Statement::from_string(DbBackend::Postgres, sql);
    let plans = reader.query_one_raw(plans).await.expect("an answer").expect("the statement");
    let (generic, custom): (i64, i64) =
        (plans.try_get_by_index(0).expect("a count"), plans.try_get_by_index(1).expect("a count"));
    // PostgreSQL makes five custom plans before it compares their costs.
    assert_eq!(custom, 5, "{generic} generic plans");
    assert!(generic > 5, "{generic} generic plans");
}

async fn batch_is_cancelled_when_all_have_left(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    let (first, reads) = fixture.queued(|| fixture.reads(1..=4)).await;
    let Database::Postgres(database) = &*fixture.database else { panic!("PostgreSQL") };
    let mut locker = database.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE categories").execute(&mut locker).await.expect("a lock");
    // Those ran alone, so the batch is the one statement that waits for the lock.
    first.iter().for_each(JoinHandle::abort);
    let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
                   AND state = 'active' AND wait_event_type = 'Lock'";
    let waits = async |count: &str| fixture.database.value(waiting).await == count;
    until("the batch waits for the lock", SOON, async || waits("1").await).await;
    // One that leaves takes nothing along, the last one does.
    reads[..3].iter().for_each(JoinHandle::abort);
    joined().await;
    assert!(waits("1").await, "one member waits for its row");
    reads[3].abort();
    // Not only when its time is over.
    let soon = Duration::from_secs(5);
    until_within("the batch is cancelled", soon, async || waits("0").await).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut locker).await.expect("a rollback");
    let next = fixture.begin(fixture.query(4, false), Deadline::NONE);
    assert_eq!(name(next).await, "category 4");
}

async fn runtime_that_ends_takes_its_reads_along(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    // The connections outlive the other runtime, so they are opened here.
    let reader = || fixture.store.reader(Freshness::Strong, Deadline::NONE);
    drop([reader().await.expect("a reader"), reader().await.expect("a reader")]);
    let mut in_time = false;
    // On a machine so busy that the statements count no more meanwhile, it begins anew.
    while !in_time {
        fixture.counts.alone.store(0, Ordering::Relaxed);
        let other = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let other = other.expect("another runtime");
        let begin = |number, held| {
            let _entered = other.enter();
            fixture.begin(fixture.query(number, held), Deadline::NONE)
        };
        let began = Instant::now();
        let first: Vec<_> = (0..STATEMENTS).map(|_| begin(1, true)).collect();
        until("the first reads run", SOON, async || fixture.counts.alone() == STATEMENTS).await;
        let reads: Vec<_> = (1..=4).map(|number| begin(number, false)).collect();
        other.spawn(joined()).await.expect("no panic");
        in_time = began.elapsed() < Duration::from_millis(40);
        other.shutdown_background();
        for read in first.into_iter().chain(reads) {
            let is_cancelled = read.await.is_err_and(|ended| ended.is_cancelled());
            assert!(is_cancelled || !in_time, "the reads end with their runtime");
        }
    }
    // The next one finds nothing that it would wait for.
    assert_eq!(name(fixture.begin(fixture.query(2, false), Deadline::NONE)).await, "category 2");
}

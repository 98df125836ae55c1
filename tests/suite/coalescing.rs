//! Reads that share statements: each keeps its own row, errors, deadline and freshness.

mod limits;
mod replicated;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bookstore_entity::category::Model;
use bookstore_query::crud::{self, Columns, One};
use bookstore_server::resource::category::Category;
use bookstore_store::{
    CachedStatement, Connection, Deadline, Freshness, Limit, Meter, PoolOptions, Query, ReadResult,
    RowKind, RowsById, SharedRows, StatementLog, StatementText, Store, StoreError, StoreOptions,
    TopologyOptions,
};
use bookstore_tests::{Database, Engine, Origin, SOON, Stopwatch, on_every_engine, run, until};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, yield_now},
};
use uuid::Uuid;

use crate::client;

on_every_engine!(
    reads_that_wait_share_one_statement,
    unreadable_row_fails_its_own_read_only,
    row_that_the_database_cannot_read_fails_its_own_read_only,
    statement_that_hangs_delays_the_others_by_its_timeout_only,
    read_that_leaves_takes_nothing_along,
);

/// The number of statements that run before others wait.
const STATEMENTS: usize = 2;

/// Reads a category, and counts how.
struct Read {
    id: Uuid,
    counts: Arc<Counts>,
    /// Waits for a permit before it reads.
    held: bool,
    kind: RowKind,
}

struct Counts {
    /// How many reads ran their own statement.
    alone: AtomicUsize,
    /// How many took their row out of a batch.
    shared: AtomicUsize,
    release: Semaphore,
}

impl Default for Counts {
    fn default() -> Self {
        let (alone, shared) = <(AtomicUsize, AtomicUsize)>::default();
        Self { alone, shared, release: Semaphore::new(0) }
    }
}

impl Counts {
    fn alone(&self) -> usize {
        self.alone.load(Ordering::Relaxed)
    }

    fn shared(&self) -> usize {
        self.shared.load(Ordering::Relaxed)
    }
}

impl Query for Read {
    const NAME: &'static str = "Read";
    type Output = Model;

    async fn fetch(&self, connection: &Connection) -> Result<Model, StoreError> {
        self.counts.alone.fetch_add(1, Ordering::Relaxed);
        if self.held {
            drop(self.counts.release.acquire().await);
        }
        let RowKind { form, statement, .. } = self.kind;
        let statement = statement(connection.get_database_backend(), form, &[self.id]);
        let row = connection.cached_one(statement).await?;
        let (resource, field) = ("category", "id".into());
        let row = row.ok_or(StoreError::NotFound { resource, id: self.id, field })?;
        Ok(Model::from_query_result(&row, "")?)
    }

    fn rows_by_id(&self) -> Option<RowsById<'_>> {
        let ids = std::slice::from_ref(&self.id);
        Some(RowsById { kind: self.kind, ids, most: usize::MAX })
    }

    fn of_rows(&self, rows: &SharedRows) -> Result<Model, StoreError> {
        self.counts.shared.fetch_add(1, Ordering::Relaxed);
        crud::of_row::<Category>(&one(self.id), rows)
    }
}

fn one(id: Uuid) -> One {
    One { id, columns: Columns::All }
}

/// How the service reads categories.
fn kind() -> RowKind {
    crud::row_by_id::<Category>(&one(Uuid::nil())).kind
}

fn id(number: usize) -> Uuid {
    Uuid::from_u128(number as u128)
}

/// Makes the statement of a form for these ids.
type MakeStatement = fn(DbBackend, u8, &[Uuid]) -> CachedStatement;

/// A store on a database with categories of the numbers 1 to `count`.
struct Fixture {
    engine: Engine,
    database: Arc<Database>,
    store: Store,
    counts: Arc<Counts>,
    /// Reads the rows, in place of the service's statement.
    statement: Option<MakeStatement>,
}

type Answer = ReadResult<Model>;

impl Fixture {
    async fn start(engine: Engine, count: usize) -> Self {
        let database = Arc::new(Database::create(engine, Origin::Migrated).await);
        if engine == Engine::Sqlite {
            let url = database.url();
            assert_eq!(run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await.code, Some(0));
        }
        for number in 1..=count {
            let literal = client::literal(engine, &id(number).to_string());
            let sql = format!(
                "INSERT INTO categories (id, name, created_at, updated_at, version) \
                 VALUES ({literal}, 'category {number}', \
                 '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 1)"
            );
            database.sql(&sql).await;
        }
        let store = Store::new(StoreOptions {
            nodes: vec![("primary".into(), database.url())],
            topology: TopologyOptions::default(),
            sealing_key: None,
            pool: PoolOptions { size: 4, max_overflow: 0, timeout: SOON, ..PoolOptions::default() },
            command_timeout: SOON,
            read_timeout: SOON,
            statement_log: StatementLog::default(),
        });
        Self {
            engine,
            database,
            store: store.expect("a store"),
            counts: Arc::default(),
            statement: None,
        }
    }

    fn query(&self, number: usize, held: bool) -> Read {
        let mut kind = kind();
        kind.statement = self.statement.unwrap_or(kind.statement);
        Read { id: id(number), counts: self.counts.clone(), held, kind }
    }

    /// Begins a read in a task of its own.
    fn begin(&self, query: Read, deadline: Deadline) -> JoinHandle<Answer> {
        self.begin_metered(query, deadline, None)
    }

    fn begin_metered(
        &self,
        query: Read,
        deadline: Deadline,
        meter: Option<Arc<dyn Meter>>,
    ) -> JoinHandle<Answer> {
        let store = self.store.clone();
        tokio::spawn(async move {
            store.read(Freshness::default(), deadline, Limit::Call, meter, &query).await
        })
    }

    /// Reads that occupy the statements until they are released.
    async fn occupy(&self) -> Vec<JoinHandle<Answer>> {
        let first = (0..STATEMENTS).map(|_| self.begin(self.query(1, true), Deadline::NONE));
        let first = first.collect();
        until("the first reads run", SOON, async || self.counts.alone() == STATEMENTS).await;
        first
    }

    /// Occupies the statements and begins reads that wait for them. On a machine so busy that the
    /// statements count no more meanwhile, it begins anew.
    async fn queued(
        &self,
        begin: impl Fn() -> Vec<JoinHandle<Answer>>,
    ) -> (Vec<JoinHandle<Answer>>, Vec<JoinHandle<Answer>>) {
        loop {
            let began = Instant::now();
            let first = self.occupy().await;
            let reads = begin();
            joined().await;
            if began.elapsed() < Duration::from_millis(40) {
                return (first, reads);
            }
            let all: Vec<_> = first.into_iter().chain(reads).collect();
            all.iter().for_each(JoinHandle::abort);
            for read in all {
                drop(read.await);
            }
            self.counts.alone.store(0, Ordering::Relaxed);
            self.counts.shared.store(0, Ordering::Relaxed);
        }
    }

    /// Begins reads of the categories of these numbers.
    fn reads(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<JoinHandle<Answer>> {
        let begin = |number| self.begin(self.query(number, false), Deadline::NONE);
        numbers.into_iter().map(begin).collect()
    }

    fn release(&self) {
        self.counts.release.add_permits(STATEMENTS);
    }

    /// Changes the category of a number, past the service.
    async fn change(&self, number: usize, set: &str) {
        let literal = client::literal(self.engine, &id(number).to_string());
        self.database.sql(&format!("UPDATE categories SET {set} WHERE id = {literal}")).await;
    }
}

/// Lets the tasks that were spawned join their queue: each of them runs until it waits.
async fn joined() {
    for _ in 0..10 {
        yield_now().await;
    }
}

async fn name(read: JoinHandle<Answer>) -> String {
    let read = read.await.expect("no panic");
    assert!(read.node.is_some_and(|node| node.is_primary));
    assert!(read.position.is_some(), "each read has a position");
    read.result.expect("a category").name
}

/// The statements of batches that [`reads_that_wait_share_one_statement`] runs, by engine.
static BATCHES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

async fn reads_that_wait_share_one_statement(engine: Engine) {
    fn counted(backend: DbBackend, form: u8, ids: &[Uuid]) -> CachedStatement {
        if ids.len() > 1 {
            BATCHES[usize::from(backend == DbBackend::Sqlite)].fetch_add(1, Ordering::Relaxed);
        }
        (kind().statement)(backend, form, ids)
    }
    let mut fixture = Fixture::start(engine, 20).await;
    fixture.statement = Some(counted);
    // Every category twice, and some that don't exist.
    let numbers = || (1..=20).chain(1..=20).chain(101..=105);
    let batches = &BATCHES[usize::from(engine == Engine::Sqlite)];
    let begin = || {
        batches.store(0, Ordering::Relaxed);
        fixture.reads(numbers())
    };
    let (first, mut found) = fixture.queued(begin).await;
    let missing = found.split_off(40);
    fixture.release();
    for (number, read) in numbers().zip(found) {
        assert_eq!(name(read).await, format!("category {number}"));
    }
    for (number, read) in (101..).zip(missing) {
        let read = read.await.expect("no panic");
        assert!(read.position.is_some(), "also what doesn't exist was read at a position");
        match read.result {
            Err(StoreError::NotFound { id: missing, .. }) => assert_eq!(missing, id(number)),
            other => panic!("{number}: {other:?}"),
        }
    }
    for read in first {
        assert_eq!(name(read).await, "category 1");
    }
    assert_eq!((fixture.counts.alone(), fixture.counts.shared()), (STATEMENTS, 45));
    assert_eq!(batches.load(Ordering::Relaxed), 1, "45 reads wait for one statement");
    // An idle service shares nothing.
    assert_eq!(name(fixture.begin(fixture.query(2, false), Deadline::NONE)).await, "category 2");
    assert_eq!((fixture.counts.alone(), fixture.counts.shared()), (STATEMENTS + 1, 45));
}

async fn unreadable_row_fails_its_own_read_only(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    // No time that the driver can represent.
    let unreadable = match engine {
        Engine::Sqlite => "created_at = 'nonsense'",
        Engine::Postgres => "created_at = 'infinity'",
    };
    fixture.change(2, unreadable).await;
    let (first, reads) = fixture.queued(|| fixture.reads(1..=4)).await;
    fixture.release();
    for (number, read) in (1..).zip(reads) {
        match number {
            // The driver panics at such a time on PostgreSQL.
            2 => assert!(!read.await.is_ok_and(|read| read.result.is_ok()), "unreadable"),
            _ => assert_eq!(name(read).await, format!("category {number}")),
        }
    }
    assert_eq!(fixture.counts.shared(), 4);
    for read in first {
        assert_eq!(name(read).await, "category 1");
    }
}

async fn row_that_the_database_cannot_read_fails_its_own_read_only(engine: Engine) {
    fn strict(backend: DbBackend, form: u8, ids: &[Uuid]) -> CachedStatement {
        let CachedStatement { text, values } = (kind().statement)(backend, form, ids);
        let text = StatementText::of("strict category", form, backend, |backend| {
            let json = match backend {
                DbBackend::Sqlite => "json(t.description)",
                _ => "CAST(t.description AS jsonb)",
            };
            format!("SELECT t.*, {json} AS json FROM ({}) AS t", text.own())
        });
        CachedStatement { text, values }
    }
    let mut fixture = Fixture::start(engine, 4).await;
    fixture.change(2, "description = '{'").await;
    fixture.statement = Some(strict);
    let (first, reads) = fixture.queued(|| fixture.reads(1..=4)).await;
    fixture.release();
    for (number, read) in (1..).zip(reads) {
        match number {
            2 => {
                let result = read.await.expect("no panic").result;
                assert!(
                    matches!(result, Err(StoreError::Constraint { .. } | StoreError::Internal(_))),
                    "{result:?}"
                );
            }
            _ => assert_eq!(name(read).await, format!("category {number}")),
        }
    }
    // The batch has failed, so each has read alone.
    assert_eq!((fixture.counts.alone(), fixture.counts.shared()), (STATEMENTS + 4, 0));
    for read in first {
        assert_eq!(name(read).await, "category 1");
    }
}

async fn statement_that_hangs_delays_the_others_by_its_timeout_only(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    let watch = Cell::new(None);
    let begin = || {
        watch.set(Some(Stopwatch::start()));
        fixture.reads(1..=4)
    };
    let (first, reads) = fixture.queued(begin).await;
    for (number, read) in (1..).zip(reads) {
        assert_eq!(name(read).await, format!("category {number}"));
    }
    let took = watch.take().expect("a begun read").stop();
    assert!(took.at_most(Duration::from_millis(500)), "{took:?}");
    assert_eq!((fixture.counts.alone(), fixture.counts.shared()), (STATEMENTS, 4));
    // What hangs longer counts no more: this one doesn't wait.
    assert_eq!(name(fixture.begin(fixture.query(3, false), Deadline::NONE)).await, "category 3");
    assert_eq!((fixture.counts.alone(), fixture.counts.shared()), (STATEMENTS + 1, 4));
    fixture.release();
    for read in first {
        assert_eq!(name(read).await, "category 1");
    }
}

async fn read_that_leaves_takes_nothing_along(engine: Engine) {
    let fixture = Fixture::start(engine, 4).await;
    let (first, reads) = fixture.queued(|| fixture.reads(1..=4)).await;
    // Of those that wait, and of those that others wait for.
    reads[0].abort();
    reads[2].abort();
    first[0].abort();
    joined().await;
    fixture.release();
    for (number, read) in (1..).zip(reads) {
        match number {
            1 | 3 => assert!(read.await.is_err_and(|left| left.is_cancelled())),
            _ => assert_eq!(name(read).await, format!("category {number}")),
        }
    }
    assert_eq!((fixture.counts.alone(), fixture.counts.shared()), (STATEMENTS, 2));
}

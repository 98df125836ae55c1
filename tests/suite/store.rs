//! The store's guarantees for any operation, tested through its public interface.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bookstore_store::{
    Call, Committed, Connection, Deadline, Freshness, PoolOptions, StatementLog, Store, StoreError,
    StoreOptions, TopologyOptions, Write, WriteObserver,
};
use bookstore_tests::{Database, Engine, Origin, SOON, on_every_engine, run};
use futures_util::future::{BoxFuture, join_all};
use sea_orm::{ConnectionTrait, DbErr};

on_every_engine!(
    operation_with_a_failed_statement_is_not_committed,
    panic_in_an_operation_rolls_back,
    write_in_a_read_operation_is_refused,
    deadline_in_an_operation_rolls_back,
    pool_never_exceeds_its_size,
    steady_load_opens_no_connections except sqlite,
    write_of_a_cancelled_call_is_committed,
    write_has_begun_before_its_own_task_runs,
);

/// A database with an additional table `marks`, and a store on it.
async fn store(engine: Engine, pool: PoolOptions) -> (Arc<Database>, Store) {
    let database = Arc::new(Database::create(engine, Origin::Migrated).await);
    if engine == Engine::Sqlite {
        let url = database.url();
        assert_eq!(run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await.code, Some(0));
    }
    database.sql("CREATE TABLE marks (note varchar(20) NOT NULL UNIQUE)").await;
    if engine == Engine::Postgres {
        database.sql("GRANT ALL ON marks TO bookstore_app").await;
    }
    let store = Store::new(StoreOptions {
        nodes: vec![("primary".into(), database.url())],
        topology: TopologyOptions::default(),
        sealing_key: None,
        pool,
        command_timeout: SOON,
        read_timeout: SOON,
        statement_log: StatementLog::default(),
    });
    (database, store.expect("a store"))
}

const POOL: PoolOptions = PoolOptions {
    size: 2,
    max_overflow: 1,
    timeout: Duration::from_secs(2),
    recycle: Duration::from_hours(1),
    pre_ping: true,
};

/// A call without a caller, a key or limits.
pub(crate) fn call(deadline: Deadline) -> Call {
    Call { deadline, ..Call::internal("test") }
}

struct Act<F>(F);

/// An operation made from a function.
pub(crate) fn act<F>(function: F) -> Box<dyn Write>
where
    F: for<'a> Fn(&'a Connection) -> Answer<'a> + Send + Sync + 'static,
{
    Box::new(Act(function))
}

/// What such a function returns.
pub(crate) type Answer<'a> = BoxFuture<'a, Result<(), StoreError>>;

impl<F> Write for Act<F>
where
    F: for<'a> Fn(&'a Connection) -> Answer<'a> + Send + Sync,
{
    fn name(&self) -> &'static str {
        "Act"
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async { (self.0)(connection).await.map(|()| Vec::new()) })
    }
}

async fn mark(connection: &Connection, note: &str) -> Result<(), DbErr> {
    connection.execute_unprepared(&format!("INSERT INTO marks VALUES ('{note}')")).await.map(drop)
}

/// The number of rows, read in another session.
async fn marks(database: &Database) -> String {
    database.value("SELECT CAST(count(*) AS varchar(9)) FROM marks").await
}

async fn operation_with_a_failed_statement_is_not_committed(engine: Engine) {
    let (database, store) = store(engine, POOL).await;
    let careless = act(|connection| {
        Box::pin(async move {
            mark(connection, "first").await?;
            // The second statement fails, and the operation ignores the error.
            let refused = mark(connection, "first").await;
            assert!(refused.is_err());
            Ok(())
        })
    });
    let result = store.run(call(Deadline::NONE), careless).await;
    assert!(matches!(result, Err(StoreError::Internal(_))), "{result:?}");
    assert_eq!(marks(&database).await, "0", "no row stays");
    let careful = act(|connection| Box::pin(async move { Ok(mark(connection, "first").await?) }));
    let result = store.run(call(Deadline::NONE), careful).await;
    assert!(result.is_ok_and(|committed| committed.position.is_some()));
    assert_eq!(marks(&database).await, "1");
}

async fn panic_in_an_operation_rolls_back(engine: Engine) {
    let (database, store) = store(engine, POOL).await;
    for round in 0..5 {
        let clumsy = act(move |connection| {
            Box::pin(async move {
                mark(connection, "lost").await?;
                assert_eq!(round, -1, "a panic on purpose");
                Ok(())
            })
        });
        let result = store.run(call(Deadline::NONE), clumsy).await;
        assert!(matches!(result, Err(StoreError::Internal(_))), "{result:?}");
        let note = round.to_string();
        let sound = act(move |connection| {
            let note = note.clone();
            Box::pin(async move { Ok(mark(connection, &note).await?) })
        });
        store.run(call(Deadline::NONE), sound).await.expect("the next call");
    }
    assert_eq!(marks(&database).await, "5");
}

async fn write_in_a_read_operation_is_refused(engine: Engine) {
    let (database, store) = store(engine, POOL).await;
    let reader = store.reader(Freshness::Strong, Deadline::NONE).await.expect("a reader");
    mark(&reader, "by execute").await.expect_err("refused by the connection");
    let insert = "INSERT INTO marks VALUES ('by query') RETURNING note";
    let statement = sea_orm::Statement::from_string(reader.get_database_backend(), insert);
    reader.query_one_raw(statement).await.expect_err("refused by the session");
    drop(reader);
    assert_eq!(marks(&database).await, "0");
}

async fn deadline_in_an_operation_rolls_back(engine: Engine) {
    let (database, store) = store(engine, POOL).await;
    let deadline = Deadline::after(Duration::from_millis(200));
    let slow = act(move |connection| {
        Box::pin(async move {
            mark(connection, "late").await?;
            // The operation itself would ignore the deadline.
            while !deadline.has_passed() {
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    });
    let result = store.run(call(deadline), slow).await;
    assert!(matches!(result, Err(StoreError::DeadlineExceeded)), "{result:?}");
    assert_eq!(marks(&database).await, "0");
}

async fn pool_never_exceeds_its_size(engine: Engine) {
    let (_database, store) = store(engine, POOL).await;
    // SQLite's readers have no overflow.
    let most = if engine == Engine::Sqlite { 2 } else { 3 };
    let checked_out: Vec<_> =
        join_all((0..most).map(|_| store.reader(Freshness::Strong, Deadline::NONE))).await;
    assert!(checked_out.iter().all(Result::is_ok));
    let refused = store.reader(Freshness::Strong, Deadline::NONE).await;
    assert!(
        matches!(refused, Err(StoreError::PoolTimeout { waited_ms }) if waited_ms >= 2_000),
        "{refused:?}"
    );
    let refused = store.reader(Freshness::Strong, Deadline::after(Duration::from_millis(50))).await;
    assert!(matches!(refused, Err(StoreError::DeadlineExceeded)), "{refused:?}");
    drop(checked_out);

    // Many more callers than connections: all are served, and the pool never exceeds its size.
    let (_database, store) = self::store(engine, PoolOptions { timeout: SOON, ..POOL }).await;
    let (now, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let callers = (0..200).map(|_| async {
        let reader = store.reader(Freshness::Strong, Deadline::NONE).await.expect("a permit");
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let one = sea_orm::Statement::from_string(reader.get_database_backend(), "SELECT 1");
        reader.query_one_raw(one).await.expect("an answer");
        now.fetch_sub(1, Ordering::SeqCst);
    });
    join_all(callers).await;
    assert!(peak.into_inner() <= most);
}

async fn steady_load_opens_no_connections(engine: Engine) {
    let pool = PoolOptions { size: 1, max_overflow: 2, timeout: SOON, ..POOL };
    let (_database, store) = store(engine, pool).await;
    let mut sessions = std::collections::HashSet::new();
    for _ in 0..50 {
        // Always one connection more than the pool keeps idle.
        let callers = (0..3).map(|_| async {
            let reader = store.reader(Freshness::Strong, Deadline::NONE).await.expect("a permit");
            let backend = reader.get_database_backend();
            let process = sea_orm::Statement::from_string(backend, "SELECT pg_backend_pid()");
            let row = reader.query_one_raw(process).await.expect("an answer").expect("a row");
            row.try_get_by_index::<i32>(0).expect("a process")
        });
        sessions.extend(join_all(callers).await);
    }
    assert!(sessions.len() <= 3, "{} sessions for three callers", sessions.len());
}

async fn write_of_a_cancelled_call_is_committed(engine: Engine) {
    let (database, store) = store(engine, POOL).await;
    let (begun, may_end) =
        (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (begun_there, may_end_there) = (begun.clone(), may_end.clone());
    let patient = act(move |connection| {
        let (begun, may_end) = (begun_there.clone(), may_end_there.clone());
        Box::pin(async move {
            mark(connection, "kept").await?;
            begun.notify_one();
            may_end.notified().await;
            Ok(())
        })
    });
    tokio::select! {
        _ = store.run(call(Deadline::NONE), patient) => panic!("it waits"),
        () = begun.notified() => {}
    }
    // The caller is dropped in the middle of the transaction.
    assert_eq!(marks(&database).await, "0");
    may_end.notify_one();
    let kept = async {
        while marks(&database).await != "1" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, kept).await.expect("the write is committed");
}

/// The tasks in which a write began and ended.
#[derive(Debug, Default)]
struct Tasks(Mutex<Vec<Option<tokio::task::Id>>>);

impl WriteObserver for Tasks {
    fn begun(&self) {
        self.0.lock().expect("no panic").push(tokio::task::try_id());
    }

    fn ended(&self, result: &Result<Committed, StoreError>) {
        assert!(result.is_ok(), "{result:?}");
        self.0.lock().expect("no panic").push(tokio::task::try_id());
    }
}

/// A caller may leave between the start of the task and its first step.
async fn write_has_begun_before_its_own_task_runs(engine: Engine) {
    let (_database, store) = store(engine, POOL).await;
    let tasks = Arc::new(Tasks::default());
    let call = Call { observer: Some(tasks.clone()), ..call(Deadline::NONE) };
    let write = act(|connection| Box::pin(async move { Ok(mark(connection, "one").await?) }));
    store.run(call, write).await.expect("a commit");
    let seen = tasks.0.lock().expect("no panic").clone();
    let [begun, ended] = seen.try_into().expect("a start and an end");
    assert_eq!(begun, tokio::task::try_id());
    assert_ne!(ended, begun, "it ends in its own task");
}

//! The position that comes with a read: it covers all that the read has seen, whatever it returns.

use std::time::Duration;

use bookstore_store::{
    Connection, Deadline, Freshness, Limit, PoolOptions, Position, Query, StatementLog, Store,
    StoreError, StoreOptions, TopologyOptions,
};
use bookstore_tests::{Replicated, SOON};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::store::{act, call};

/// A store on one node alone, with one session. It probes nothing.
fn store(cluster: &Replicated, node: usize) -> Store {
    let pool = PoolOptions {
        size: 1,
        max_overflow: 0,
        timeout: SOON,
        recycle: Duration::from_hours(1),
        pre_ping: false,
    };
    let store = Store::new(StoreOptions {
        nodes: vec![("node".into(), cluster.url("bookstore_app", node))],
        topology: TopologyOptions::default(),
        sealing_key: None,
        pool,
        command_timeout: SOON,
        read_timeout: SOON,
        statement_log: StatementLog::default(),
    });
    store.expect("a store")
}

/// How a statement is run.
#[derive(Clone, Copy, Debug)]
enum How {
    One,
    All,
    UpTo,
}

/// One statement: SQL, how it is run, and SQL that another session runs before it.
type Step<'a> = (&'a str, How, &'a str);

/// Runs the steps on one connection. Returns the number of rows of the last one, and the session's
/// process.
struct Ask<'a>(&'a Replicated, &'a [Step<'a>]);

impl Query for Ask<'_> {
    const NAME: &'static str = "Ask";
    type Output = (usize, i32);

    async fn fetch(&self, connection: &Connection) -> Result<Self::Output, StoreError> {
        let Self(cluster, steps) = self;
        let statement = |sql: &str| Statement::from_string(DbBackend::Postgres, sql);
        let process = connection.query_one_raw(statement("SELECT pg_backend_pid()")).await?;
        let process = process.expect("a row").try_get_by_index(0).expect("a process");
        let mut rows = 0;
        for (sql, how, before) in *steps {
            cluster.execute(0, before).await;
            rows = match how {
                How::One => usize::from(connection.query_one_raw(statement(sql)).await?.is_some()),
                How::All => connection.query_all_raw(statement(sql)).await?.len(),
                How::UpTo => connection.query_up_to(statement(sql), 1 << 20).await?.rows.len(),
            };
        }
        Ok((rows, process))
    }
}

/// Reads; returns the number of rows, the session's process and the position.
async fn ask(cluster: &Replicated, store: &Store, steps: &[Step<'_>]) -> (usize, i32, Position) {
    let (freshness, ask) = (Freshness::default(), Ask(cluster, steps));
    let read = store.read(freshness, Deadline::NONE, Limit::Call, None, &ask).await;
    let (rows, process) = read.result.expect("an answer");
    (rows, process, read.position.expect("a position"))
}

/// The end of the log that a node has flushed.
async fn flushed(cluster: &Replicated, node: usize) -> u64 {
    let sql = "pg_current_wal_flush_lsn() - '0/0'::pg_lsn";
    cluster.value(node, sql).await.parse().expect("a number")
}

const TABLE: &str = "CREATE TABLE marks (note integer PRIMARY KEY); \
    INSERT INTO marks SELECT generate_series(1, 3); GRANT ALL ON marks TO bookstore_app";

#[tokio::test]
async fn position_covers_every_statement_with_rows_or_without() {
    let cluster = Replicated::start(0).await;
    cluster.execute(0, TABLE).await;
    let store = store(&cluster, 0);
    let all = "SELECT note FROM marks ORDER BY note DESC";
    let none = "SELECT note FROM marks WHERE note > 1000";
    let cte = "WITH few AS (SELECT note FROM marks WHERE note < 3) SELECT note FROM few LIMIT 1";
    let (mut next, mut sessions) = (10, Vec::new());
    // The first session's statement learns the role, so each case runs twice.
    for (sql, how, found) in [
        (all, How::One, 1),
        (all, How::All, 3),
        (all, How::UpTo, 3),
        (cte, How::All, 1),
        (none, How::One, 0),
        (none, How::All, 0),
        (none, How::UpTo, 0),
    ] {
        for first in [all, none] {
            let before =
                format!("INSERT INTO marks VALUES ({next}); DELETE FROM marks WHERE note = {next}");
            let steps = [(first, How::One, ""), (sql, how, &*before)];
            let start = flushed(&cluster, 0).await;
            let (rows, process, position) = ask(&cluster, &store, &steps).await;
            assert_eq!(rows, found, "{sql} {how:?}");
            assert_eq!(position.timeline, 1, "{sql} {how:?}");
            // The other session's commit came between the two statements.
            assert!(position.number > start, "{sql} {how:?} after {first}: {position:?}, {start}");
            assert!(position.number <= flushed(&cluster, 0).await, "{sql} {how:?}: too late");
            sessions.push(process);
            next += 1;
        }
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 1, "one session, so all but its first statements know the role");
}

#[tokio::test]
async fn rows_keep_their_order_and_columns() {
    let cluster = Replicated::start(0).await;
    cluster.execute(0, TABLE).await;
    let store = store(&cluster, 0);
    for _ in 0..3 {
        let reader = store.reader(Freshness::default(), Deadline::NONE).await.expect("a reader");
        let sql = "SELECT note, -note AS less FROM marks ORDER BY note % 2, note DESC";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let read = reader.query_up_to(statement.clone(), 1 << 20).await.expect("rows");
        let read: Vec<(i32, i32)> = read
            .rows
            .iter()
            .map(|(row, _)| {
                (row.try_get_by_index(0).expect("a note"), row.try_get("", "less").expect("less"))
            })
            .collect();
        assert_eq!(read, [(2, -2), (3, -3), (1, -1)]);
        let first = reader.query_one_raw(statement).await.expect("an answer").expect("a row");
        assert_eq!(first.try_get_by_index::<i32>(0).expect("a note"), 2);
    }
}

/// A session that was opened at a replica sees the promotion by itself: no probe runs here.
#[tokio::test]
async fn session_of_a_promoted_replica_answers_on_its_timeline() {
    let mut cluster = Replicated::start(1).await;
    cluster.execute(0, TABLE).await;
    cluster.caught_up(0, 1).await;
    let store = store(&cluster, 1);
    let all = [("SELECT note FROM marks", How::One, "")];
    let nothing = [("SELECT note FROM marks WHERE note > 1000", How::All, "")];
    let before = flushed(&cluster, 0).await;
    for steps in [&all, &nothing, &all] {
        let (_, _, position) = ask(&cluster, &store, steps).await;
        assert_eq!(position.timeline, 1);
        assert!(position.number <= before + 1, "a replica has no more than its primary");
    }
    let (_, session, _) = ask(&cluster, &store, &all).await;
    cluster.promote(1).await;
    for steps in [&all, &nothing, &all, &nothing] {
        let written = cluster.value(1, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").await;
        let (_, process, position) = ask(&cluster, &store, steps).await;
        assert_eq!(process, session, "the session outlives the promotion");
        assert_eq!(position.timeline, 2, "{steps:?}");
        assert!(position.number >= written.parse::<u64>().expect("a number"), "{steps:?}");
        cluster.execute(1, "DELETE FROM marks WHERE note = 3; INSERT INTO marks VALUES (3)").await;
    }
    // The guard of the run expects a primary's end.
    cluster.kill(0).await;
}

/// The service commits synchronously although the server does not, so the flush position covers its
/// commits.
#[tokio::test]
async fn position_covers_commits_where_the_server_is_lazy() {
    let cluster = Replicated::start(0).await;
    cluster.execute(0, TABLE).await;
    let lazily = "ALTER SYSTEM SET synchronous_commit = off; \
                  ALTER SYSTEM SET wal_writer_delay = '10s'; SELECT pg_reload_conf()";
    cluster.execute(0, lazily).await;
    let (writer, reader) = (store(&cluster, 0), store(&cluster, 0));
    let all = [("SELECT note FROM marks", How::One, "")];
    // The reader's session knows the primary after this.
    ask(&cluster, &reader, &all).await;
    for _ in 0..3 {
        let mark = act(|connection| {
            let sql = "INSERT INTO marks SELECT max(note) + 1 FROM marks";
            Box::pin(async move { Ok(connection.execute_unprepared(sql).await.map(drop)?) })
        });
        let written = writer.run(call(Deadline::NONE), mark).await.expect("a commit").position;
        let written = written.expect("a position");
        let (_, _, position) = ask(&cluster, &reader, &all).await;
        assert!(position.number >= written.number, "{position:?} doesn't cover {written:?}");
    }
}

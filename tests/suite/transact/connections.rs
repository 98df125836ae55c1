//! The database's connections in trouble: a limit of the server, and sessions that it has ended.

use std::time::Duration;

use bookstore_proto::v1::{Begin, GetBookRequest, transact_request::Step};
use bookstore_tests::{Engine, Line, Stopwatch, TestServer, until};
use futures_util::future::join_all;
use tonic::Code;

use super::{CREATE, Led, a_new_book};
use crate::{
    client::{self, Refusal, a_book, create, done, id},
    lifecycle::SOON,
};

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity \
                        WHERE usename = 'bookstore_app' AND datname = current_database()";

async fn end_sessions(server: &TestServer) {
    server.database().end_sessions().await;
    until("the sessions have ended", SOON, async || {
        // The control connection is opened again each second.
        server.database().value(SESSIONS).await.parse::<u32>().is_ok_and(|open| open <= 1)
    })
    .await;
}

/// With fewer connections than the pool may open, calls wait for one that is there, of either
/// access, and none fails.
#[tokio::test]
async fn calls_wait_where_the_server_takes_no_more_connections() {
    let server = TestServer::start(Engine::Postgres).await;
    let mut books = client::books(&server);
    done(books.create_book(create(&id(1), a_book("Dune"))).await);
    let name = server.database().value("SELECT current_database()").await;
    server.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 5")).await;
    let callers = (0..16).map(|caller| {
        let mut books = books.clone();
        async move {
            for call in 0..15 {
                if (caller + call) % 3 == 0 {
                    let title = format!("{caller}-{call}");
                    done(books.create_book(create("", a_book(&title))).await);
                } else {
                    let get = GetBookRequest { id: id(1), ..Default::default() };
                    done(books.get_book(get).await);
                }
            }
        }
    });
    join_all(callers).await;
    let open: u32 = server.database().value(SESSIONS).await.parse().expect("a number");
    assert!((1..=5).contains(&open), "{open}");
    // At most one for each slot of the pool at first, and few from then on: it was one a call.
    let log = bookstore_tests::Postgres::shared().await.log();
    let log = std::fs::read_to_string(log).expect("the server's log");
    let is_refusal = |line: &&str| line.contains(&format!("\"{name}\"")) && line.contains("53300");
    let refused = log.lines().filter(is_refusal).count();
    assert!((1..80).contains(&refused), "{refused} refused openings");
    // One caller at a time: the sessions that are there may all be for writing.
    for _ in 0..5 {
        let get = GetBookRequest { id: id(1), ..Default::default() };
        done(books.get_book(get).await);
    }
}

/// A session that the server has ended while it was idle costs no caller an error.
#[tokio::test]
async fn ended_idle_sessions_cost_no_error() {
    let server = TestServer::start(Engine::Postgres).await;
    let mut books = client::books(&server);
    done(books.create_book(create(&id(1), a_book("Dune"))).await);
    let get = || GetBookRequest { id: id(1), ..Default::default() };
    done(books.get_book(get()).await);
    for round in 0..3 {
        // Several idle sessions.
        join_all((0..4).map(|_| {
            let mut books = books.clone();
            async move { done(books.get_book(get()).await) }
        }))
        .await;
        // The session that the last write used, and one of a read before it.
        for title in ["Emma", "Persuasion"] {
            done(books.create_book(create("", a_book(title))).await);
            end_sessions(&server).await;
        }
        done(books.get_book(get()).await);
        end_sessions(&server).await;
        let written = books.create_book(create("", a_book(&format!("{round}")))).await;
        done(written);
        end_sessions(&server).await;
        let mut led = Led::begun(&server).await;
        led.call(CREATE, a_new_book(10 + round)).await.expect("a book");
        led.commit().await.expect("a commit");
    }
}

/// A commit on a session that the server had ended has not happened, and its caller is told so.
#[tokio::test]
async fn commit_of_an_ended_session_is_reported_as_rolled_back() {
    let server = TestServer::start(Engine::Postgres).await;
    let mut led = Led::open(&server, None).await;
    led.step(Step::Begin(Begin::default())).await.expect("a transaction");
    led.call(CREATE, a_new_book(1)).await.expect("a book");
    let idle = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE usename = 'bookstore_app' AND datname = current_database() \
                AND xact_start IS NOT NULL AND query LIKE 'INSERT INTO \"books\"%'";
    assert_eq!(server.database().value(idle).await, "1");
    let left = idle.replace("pg_terminate_backend(pid)", "*");
    until("the session has ended", SOON, async || server.database().value(&left).await == "0")
        .await;
    let status = led.commit().await.expect_err("no commit");
    Refusal::from(&status).is(Code::Unavailable, "DATABASE_UNAVAILABLE", &[]);
    assert_eq!(server.database().value("SELECT count(*) FROM books").await, "0");
}

/// A service that is cut off holds locks no longer than its transactions may last.
#[tokio::test]
async fn idle_limit_in_the_database_follows_the_transaction() {
    let server = TestServer::start(Engine::Postgres).await;
    // The statements of the session are logged.
    let name = server.database().value("SELECT current_database()").await;
    server.sql(&format!("ALTER DATABASE {name} SET log_statement = 'all'")).await;
    end_sessions(&server).await;
    let mut led = Led::open(&server, None).await;
    let asked = Begin { timeout_ms: 1_500, ..Begin::default() };
    led.step(Step::Begin(asked)).await.expect("a transaction");
    let log = bookstore_tests::Postgres::shared().await.log();
    let mut limit = None;
    // The server writes its log in the background.
    until("the transaction is logged", SOON, async || {
        let log = std::fs::read_to_string(&log).expect("the server's log");
        let mut lines = log.lines().filter(|line| line.contains(&format!("\"{name}\"")));
        limit = lines.find_map(|line| {
            let (_, rest) = line.split_once("SET LOCAL idle_in_transaction_session_timeout = ")?;
            rest.split_once(';')?.0.parse::<u64>().ok()
        });
        limit.is_some()
    })
    .await;
    let limit = Duration::from_millis(limit.expect("a limit"));
    assert!(limit <= Duration::from_millis(2_501), "{limit:?}");
    led.commit().await.expect("a commit");
}

/// The network swallows everything: each step answers in its time, and the database's locks are
/// free soon after.
#[tokio::test]
async fn swallowed_steps_answer_in_their_time() {
    let database = TestServer::start(Engine::Postgres).await;
    let line = Line::to(&database.database()).await;
    let server = TestServer::builder(Engine::Postgres).url(line.url());
    let server = server.env("TRANSACTION_IDLE_TIMEOUT", "1s").start().await;
    let begun = async |number| {
        let mut led = Led::open(&server, None).await;
        led.step(Step::Begin(Begin { timeout_ms: 2_000, ..Begin::default() }))
            .await
            .expect("begun");
        led.call(CREATE, a_new_book(number)).await.expect("a book");
        led
    };
    let (mut calls, mut commits, mut silent) = (begun(1).await, begun(2).await, begun(3).await);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bookstore_app' \
                AND datname = current_database() AND xact_start IS NOT NULL \
                AND query LIKE 'INSERT INTO \"books\"%'";
    assert_eq!(database.database().value(open).await, "3");
    line.freeze();
    let watch = Stopwatch::start();

    let call = async {
        let refused = calls.call(CREATE, a_new_book(4)).await.expect_err("no answer");
        refused.is(Code::Aborted, "TRANSACTION_TIMEOUT", &[]);
    };
    let commit = async {
        let status = commits.commit().await.expect_err("no answer");
        Refusal::from(&status).is(Code::Unknown, "COMMIT_OUTCOME_UNKNOWN", &[]);
    };
    let silence = async {
        let status = silent.answers.message().await.expect_err("its caller is silent");
        Refusal::from(&status).is(Code::Aborted, "TRANSACTION_TIMEOUT", &[]);
    };
    let free = until("no transaction is open in the database", SOON, async || {
        database.database().value(open).await == "0"
    });
    tokio::join!(call, commit, silence, free);
    let took = watch.stop();
    assert!(took.at_most(Duration::from_secs(10)), "{took:?}");
    line.restore();
    let count = "SELECT count(*) FROM books";
    assert_eq!(database.database().value(count).await, "0", "no transaction is committed");
}
